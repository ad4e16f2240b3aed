"""Editing of real brains with a generative model: hooks around its denoisers, and a scan in its box and back."""
