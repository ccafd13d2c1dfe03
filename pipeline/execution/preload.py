"""What workers import. On cores they are forks of a process that has it, so it is imported once.

Importing this must run no operation of TensorFlow: threads that it starts survive no fork.
"""

import os
import signal
from pathlib import Path

from pipeline.config import sections
from pipeline.execution import processes

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
# Keras imports pandas, which imports Arrow, whose allocator would start a thread.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
processes.log_libraries()
with processes.importing():
    from pipeline import datasets
    from pipeline.engine import Engine, backend
    from pipeline.execution import worker  # noqa: F401  # what else a fork would import
    from pipeline.training.trainer import Trainer


def trainer(prepared: Path, engine: sections.Engine, memory: int) -> Trainer:
    """A worker's trainer, on its device. `memory`: bytes that its populations may take."""
    backend.set_up(engine.deterministic)
    return Trainer(datasets.load(prepared), Engine(engine.program, engine.population, memory))
