"""The preprocessing contract: the one road from decoded pixels to the network's input."""
