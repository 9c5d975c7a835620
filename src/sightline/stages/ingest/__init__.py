"""Images from wherever they are, checked, into raw shards."""
