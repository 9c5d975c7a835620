"""Review of a set by people: a queue of images that are worth a look, and what becomes of the decisions."""
