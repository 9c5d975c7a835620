"""Baseline methods, one module each: a new one is one more module here, which registers its class."""
