"""Comparison of two models on the same test set: whether one is better, by how much, and where."""
