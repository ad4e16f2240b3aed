"""Plots (pyqtgraph)."""
