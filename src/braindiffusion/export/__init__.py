"""Export of brains as a BIDS dataset. Needs no torch."""

from braindiffusion.export.bids import privacy, write_bids
from braindiffusion.export.brains import Brain, brains_in

__all__ = ["Brain", "brains_in", "privacy", "write_bids"]
