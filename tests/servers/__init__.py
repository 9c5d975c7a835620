"""Real servers for tests: each on a private port of 127.0.0.1, in a folder of its own, ended by its process id."""
