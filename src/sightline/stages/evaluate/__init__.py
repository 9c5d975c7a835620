"""The evaluate stage: scores the trained model on the test split and writes metrics, figures and the report."""
