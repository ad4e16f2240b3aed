"""The mathematics: noise, denoiser, samplers. No files, no networks' insides."""
