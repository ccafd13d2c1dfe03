"""Every regularization technique: what it changes, as values, and the registry."""
