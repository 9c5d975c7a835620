"""Drift: whether incoming images still resemble those that a model was tested on, the test and validation images."""
