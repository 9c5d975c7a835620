"""Training: data loading, augmentation, the LightningModule, optimisers."""
