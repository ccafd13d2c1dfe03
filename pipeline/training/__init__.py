"""One training run as a value and its key; the trainer; what is measured of a trained model."""
