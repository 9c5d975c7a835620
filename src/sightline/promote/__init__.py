"""Promotion: registers a bundle as a model version, and makes it the champion if it may replace the current one."""
