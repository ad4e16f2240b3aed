"""One file for each command that is more than its request."""
