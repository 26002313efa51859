"""Salient object segmentation for vision-toolkit."""
