"""Results of the jobs `evaluate` and `nearest`, as written to disk."""
