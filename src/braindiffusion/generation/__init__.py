"""Brains out of noise: the cascade, sampled level by level, and the job that writes what comes of it."""
