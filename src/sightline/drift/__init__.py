"""Drift: whether incoming images are still like those that a model was tested on."""
