"""Comparison of two models on the same images: whether one is better, by how much, and where."""
