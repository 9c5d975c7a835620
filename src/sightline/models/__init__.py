"""The networks, plain nn.Modules that know nothing of Lightning."""
