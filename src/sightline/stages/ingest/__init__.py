"""The ingest stage: reads images from a source, checks them and writes raw shards."""
