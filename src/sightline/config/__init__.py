"""The configuration: conf/, params.yaml and the command line, composed and checked."""
