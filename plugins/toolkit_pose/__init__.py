"""The pose task."""
