"""Examination of an installation and of a project: what would stand in the way of a run, each with its remedy."""
