"""Raw shards into training-ready pixels, by the preprocessing contract."""
