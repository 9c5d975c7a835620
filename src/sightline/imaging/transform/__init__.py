"""The preprocessing transform: the one road from decoded pixels to the network's input."""
