"""Synthetic cohorts: conditions of the subjects, the dataset, novelty, the report, and their use as augmentation."""
