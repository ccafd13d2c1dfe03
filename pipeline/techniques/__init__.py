"""The regularization techniques: their changes as values, and the registry."""
