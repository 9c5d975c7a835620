"""Plots for the pages: each function takes arrays and a theme, and returns a PNG or None."""
