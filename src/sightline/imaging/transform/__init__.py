"""The preprocessing transform: the only way from decoded pixels to the network's input."""
