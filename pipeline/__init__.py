"""One thin script a stage: configuration in, one library call, files out."""
