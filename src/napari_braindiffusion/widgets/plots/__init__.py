"""Plots (pyqtgraph)."""

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2")
"""Okabe and Ito's: told apart by the colour-blind, and on dark and light ground alike."""

LOSSES = {"loss": "training", "validation_loss": "validation"}
NOVELTY = {"novelty": "samples"}
"""Values of a training that are drawn, and what their curves are called."""
