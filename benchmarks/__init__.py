"""The engine against `model.fit`, on the same work, in one run."""

import os

from pipeline.execution import processes

# In each process that measures, TensorFlow's notices would bury the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with processes.libraries_logged():
    import keras  # noqa: F401
