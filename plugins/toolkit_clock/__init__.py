"""The clock task."""
