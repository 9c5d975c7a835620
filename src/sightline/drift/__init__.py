"""Drift: whether incoming images are still like those that a model was held against: test and validation images."""
