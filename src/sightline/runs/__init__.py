"""Runs as a table for the terminal, and what two of them differ by."""
