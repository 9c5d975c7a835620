"""The stages of the pipeline, a package each."""
