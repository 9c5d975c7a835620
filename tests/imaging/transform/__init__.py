"""The preprocessing contract, option by option and as a whole."""
