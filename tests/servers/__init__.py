"""Real servers for tests: each on a private port of 127.0.0.1, in its own folder, and ended by its process id."""
