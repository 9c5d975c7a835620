"""The Python interface: each stage as a function, with its results as objects to inspect and pass on."""
