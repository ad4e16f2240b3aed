"""The mathematics: noise, denoiser, loss weights, samplers, guidance. No files, no network internals."""
