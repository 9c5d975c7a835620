"""The preprocessing transform, option by option and as a whole."""
