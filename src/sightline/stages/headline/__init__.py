"""The headline stage: writes the main metrics to a file that is kept in git."""
