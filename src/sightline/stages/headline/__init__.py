"""The headline metrics, in a file that git keeps."""
