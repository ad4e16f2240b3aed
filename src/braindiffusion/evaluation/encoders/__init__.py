"""Encoders: networks and tables that turn a brain into a feature vector."""
