"""The watch stage: a cheap check of the source and the complete configuration before any work."""
