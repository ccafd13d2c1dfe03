"""What all tests share."""

import os

# Before anything imports TensorFlow: its notices would bury what the tests say.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
