"""Looking at brains: three linked planes and a rendering, side by side, in 3D, and where two differ."""
