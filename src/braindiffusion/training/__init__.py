"""Training: presets, patches, augmentation, a level's loop, the average of weights, checkpoints; the job ties them."""
