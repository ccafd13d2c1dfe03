"""The engine against `model.fit`, on the same work, in one run."""
