"""The table of runs for the terminal, and the difference of two runs."""
