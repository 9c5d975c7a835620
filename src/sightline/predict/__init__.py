"""Inference with an exported bundle, without torch."""
