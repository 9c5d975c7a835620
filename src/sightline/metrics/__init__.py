"""The numbers, as pure functions of labels and probabilities: shared by all that scores or compares models."""
