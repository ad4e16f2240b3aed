"""Figures as HTML files that open in any browser and need no network. Needs no torch."""
