"""Architectures: a module for each network that `train.model` can name. A module that is put here is an option."""
