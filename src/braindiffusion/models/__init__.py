"""Generative models: what one must offer, which there are, and the networks."""
