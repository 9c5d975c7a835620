"""Metrics, as pure functions of labels and probabilities."""
