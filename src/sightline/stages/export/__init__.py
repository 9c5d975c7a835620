"""The bundle: everything that a prediction needs, proven equal to the trained model."""
