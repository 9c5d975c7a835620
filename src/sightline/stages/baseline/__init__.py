"""Simpler methods on the same splits: what the network has to beat."""
