"""Architectures as plain Keras models, and how a technique's change is applied to them."""
