"""One training run as a value and its key; the trainer; the measures of a trained model."""
