"""Sweeps over the knobs of any stage up to training: resumable, pruned, cached, several jobs at a time."""
