"""Review of a dataset by people: a queue of images that are worth a look, and the decisions on them."""
