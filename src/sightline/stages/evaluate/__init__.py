"""Scores of the trained model on the test split: numbers, pictures, the report."""
