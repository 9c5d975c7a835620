"""Export of a trained model as a bundle, after a parity check against the trained model."""
