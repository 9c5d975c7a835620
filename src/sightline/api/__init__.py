"""The Python interface: each stage as a function, its results as objects to look at and to go on with."""
