"""BrainDiffusion in napari."""
