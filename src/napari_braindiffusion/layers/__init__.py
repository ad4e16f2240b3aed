"""Volumes as napari layers."""
