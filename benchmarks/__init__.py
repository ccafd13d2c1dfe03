"""The engine compared with `model.fit`, on the same work, in one run.

`fit` trains from arrays with `shuffle=True`, its default, and without a seed of TensorFlow, so its
order is fresh in each epoch, as the engine's is. Only `shuffling` also has a `fit` with a seed.
"""

import os

from pipeline.execution import processes

# TensorFlow's notices in each process that measures would hide the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with processes.libraries_logged():
    import keras  # noqa: F401
