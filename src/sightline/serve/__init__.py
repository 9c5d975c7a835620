"""A bundle behind HTTP: a REST server and a web page."""
