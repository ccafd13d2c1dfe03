"""A job and a worker for the tests of executors, in a module that workers can import."""

import os
from dataclasses import dataclass

from pipeline.execution.ray_worker import RayWorker
from pipeline.execution.worker import Worker


class DiesAtStart(RayWorker):
    """A worker that a machine without enough memory would have."""

    def __init__(self, *given: object) -> None:
        os._exit(3)


@dataclass(frozen=True)
class Execute:
    """A job that runs Python in its worker, and answers with the worker's process id."""

    script: str

    def run(self, worker: Worker) -> int:
        exec(self.script, {})
        return os.getpid()
