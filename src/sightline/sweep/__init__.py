"""Sweeps over the settings of any stage: resumable, with pruning, cached results and parallel jobs."""
