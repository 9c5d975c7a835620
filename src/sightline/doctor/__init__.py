"""Checks of an installation and a project: problems that would prevent a run, each with its remedy."""
