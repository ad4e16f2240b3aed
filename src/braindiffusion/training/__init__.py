"""Training: presets, patches, augmentation, one level's loop, the average of weights, checkpoints, and the job that ties them."""
