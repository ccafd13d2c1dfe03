"""A job for the tests of executors, in a module that workers can import."""

import os
from dataclasses import dataclass

from pipeline.execution.worker import Worker


@dataclass(frozen=True)
class Execute:
    """A job that runs Python in its worker, and answers with the worker's process id."""

    script: str

    def run(self, worker: Worker) -> int:
        exec(self.script, {})
        return os.getpid()
