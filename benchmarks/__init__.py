"""The engine against `model.fit`, on the same work, in one run."""

from pipeline import starting

with starting.without_greetings():  # in each process that measures, they would bury the tables
    import keras  # noqa: F401
