"""Quality control of input volumes."""
