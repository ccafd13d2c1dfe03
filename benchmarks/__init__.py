"""The engine compared with `model.fit`, on the same work, in one run."""

import os

from pipeline.execution import processes

# TensorFlow's notices in each process that measures would hide the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with processes.libraries_logged():
    import keras  # noqa: F401
