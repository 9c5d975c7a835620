"""Augmentation, shared by preprocessing (copies of training images) and training (anew in every epoch)."""
