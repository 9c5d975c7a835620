"""The preprocessing transform: the one way from decoded pixels to the network's input."""
