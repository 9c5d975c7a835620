"""Promotion: a bundle becomes a version of the registered model, and the champion if it may replace the one before."""
