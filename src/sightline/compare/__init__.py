"""Two models on the same test set: is one better, by how much, and where?"""
