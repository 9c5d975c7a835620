"""Images: decoding, the preprocessing transform, augmentation, corruptions."""
