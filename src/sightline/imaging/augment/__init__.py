"""Augmentation, shared by preprocessing (copies of training images) and training (new draws in every epoch)."""
