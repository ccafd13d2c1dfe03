"""The engine against `model.fit`, on the same work, in one run."""

from pipeline.execution import processes

with processes.without_greetings():  # in each process that measures, they would bury the tables
    import keras  # noqa: F401
