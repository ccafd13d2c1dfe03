"""The jobs of a worker, as values that any executor can send."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from pipeline.execution.host import Host
from pipeline.execution.worker import Worker
from pipeline.training.runs import Result, Run


@runtime_checkable
class Reader(Protocol):
    """A job that reads files, which another machine does not have."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that it reads."""

    def moved(self, to: Mapping[Path, Path]) -> Self:
        """The same job with each file in another place."""


@dataclass(frozen=True)
class Program:
    """Finds the program that trains a run: its name, and how many runs it trains at once."""

    asked: Run

    def run(self, worker: Worker) -> tuple[str, int]:
        """Builds the run's model. Raises UserError if the worker's GPU cannot be used."""
        worker.check_device()
        return worker.trainer.program(self.asked)


@dataclass(frozen=True)
class Timed:
    """Results, the time that they took in seconds, and where they were computed."""

    results: Sequence[Result]
    seconds: float
    host: Host | None = None


@dataclass(frozen=True)
class Train:
    """Trains runs that share a program. `checkpoints`: for each run the file to continue from."""

    runs: Sequence[Run]
    checkpoints: Sequence[Path | None]

    @property
    def files(self) -> Sequence[Path]:
        """See `Reader`."""
        return [path for path in self.checkpoints if path is not None]

    def moved(self, to: Mapping[Path, Path]) -> Self:
        """See `Reader`."""
        return replace(self, checkpoints=[path and to[path] for path in self.checkpoints])

    def run(self, worker: Worker) -> Timed:
        """Trains with the programs that other workers compiled, and shares those compiled here."""
        began = time.perf_counter()

        def on_chunk(done: int) -> None:
            worker.tell(done * len(self.runs))

        with worker.shared_programs():
            results = worker.trainer.run(self.runs, self.checkpoints, on_chunk)
        return Timed(results, time.perf_counter() - began, worker.host)


@dataclass(frozen=True)
class Measure:
    """Measures a trained model again, from its .keras file. `asked`: the model's run."""

    asked: Run
    model: Path

    @property
    def files(self) -> Sequence[Path]:
        """See `Reader`."""
        return [self.model]

    def moved(self, to: Mapping[Path, Path]) -> Self:
        """See `Reader`."""
        return replace(self, model=to[self.model])

    def run(self, worker: Worker) -> Timed:
        """The result has measures, probabilities and inspection, but nothing of the training."""
        import keras

        from pipeline.training.evaluation import evaluate

        began = time.perf_counter()
        model = keras.models.load_model(self.model, compile=False)
        evaluation = evaluate(self.asked, model, worker.trainer.dataset)
        result = Result(
            key=self.asked.key,
            trained={},
            probabilities=evaluation.probabilities,
            inspection=evaluation.inspection,
            measured=evaluation.measures,
        )
        return Timed([result], time.perf_counter() - began)


@dataclass(frozen=True)
class Score:
    """Scores trials on test examples, after the choice. `weights`: for each run its .npz file."""

    runs: Sequence[Run]
    weights: Sequence[Path]

    @property
    def files(self) -> Sequence[Path]:
        """See `Reader`."""
        return self.weights

    def moved(self, to: Mapping[Path, Path]) -> Self:
        """See `Reader`."""
        return replace(self, weights=[to[path] for path in self.weights])

    def run(self, worker: Worker) -> Sequence[Mapping[str, float]]:
        """The scores of each run, by column."""
        return worker.trainer.scores(self.runs, self.weights)
