"""Foundations of all packages: files, errors, seeds, credentials, code digests, progress and logging."""
