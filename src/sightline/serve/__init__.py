"""The REST server and web page for a bundle."""
