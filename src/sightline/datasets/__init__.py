"""The datasets that flow between the stages: raw shards, processed shards, predictions."""
