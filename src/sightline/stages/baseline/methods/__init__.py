"""Baseline methods, one module each. To add a method, add a module that registers its class."""
