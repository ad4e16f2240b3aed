"""BrainDiffusion: brains you can make. The engine, without a screen."""
