"""One training run as a value: what is trained, on which examples, from which seed.

A run's key is a digest of everything that decides its result, including the code. It identifies the
result wherever that is stored: in the journal, in runs.csv, in MLflow.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from pipeline.config.sections import Engine, Study, Training
from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.models.architectures import Model
from pipeline.techniques.changes import Change
from pipeline.techniques.registry import combination
from pipeline.techniques.training import Stopping
from pipeline.training.identity import canonical, code_digest, key_of
from pipeline.training.seeds import derived_seed

Protocol = Literal["article", "leak_free"]
Phase = Literal["trial", "article", "tuned"]

PROTOCOLS: Mapping[Phase, Protocol] = {
    "trial": "leak_free",
    "article": "article",
    "tuned": "leak_free",
}
INSPECTED = 0  # the seed whose final runs are inspected
FIRST_TUNING_SEED = 1_000_000  # final seeds count from 0; tuning never shares one


@dataclass(frozen=True)
class Run:
    """One run. All techniques share `seed`; `draw` selects a draw of the data, where drawn."""

    study: str
    data_digest: str
    model: Model
    training: Training  # with this run's own learning rate and epochs
    technique: str
    values: Mapping[str, float]  # the technique's hyperparameters
    setting: Phase
    seed: int
    draw: int
    study_seed: int
    program: (
        str  # engine.program of params.yaml; with population and deterministic, affects rounding
    )
    population: int | str
    deterministic: bool = True
    goes_on_from: str | None = None  # key of the run whose checkpoint it resumes
    resumable: bool = False  # whether another run may resume from its checkpoint
    combine: tuple[str, ...] = ()  # the parts of a combination that the study names
    task: Task = CLASSIFICATION
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.meaning))

    @property
    def meaning(self) -> dict[str, Any]:
        """Everything that decides the result, for JSON.

        `technique` is the exception: it separates the rows of techniques with equal changes.
        """
        change = self.change
        return {
            "data": self.data_digest,
            "task": self.task.name,
            "model": canonical(self.model),
            "layers": [*self.model.hidden_layers],
            "dense": dict(self.model.dense),
            "change": change.identity(),
            "values": dict(self.values),
            "training": canonical(self.training),
            "technique": self.technique,
            "setting": self.setting,
            "protocol": self.protocol,
            "seed": self.seed,
            "draw": self.draw,
            "study_seed": self.study_seed,
            "program": self.program,
            "population": self.population,
            "deterministic": self.deterministic,
            "code": code_digest(change.part_classes()),
        }

    @property
    def change(self) -> Change:
        """The technique's change for these values."""
        return combination(self.combine or (self.technique,)).apply(self.values)

    @property
    def stops_early(self) -> bool:
        """Whether its technique may stop it early, so that its score is that of its best epoch."""
        return self.change.get(Stopping) is not None

    @property
    def unwatched(self) -> int:
        """The number of epochs before early stopping starts to watch; all epochs without it."""
        epochs, change = self.training.epochs, self.change
        return change.before_last_fit(epochs) if change.get(Stopping) else epochs

    @property
    def path(self) -> tuple[object, ...]:
        """Equal for runs that train identically, epoch by epoch, until one of them ends."""
        change = self.change.without(Stopping)
        training = self.training
        if change.grows:
            training = replace(training, epochs=1)
        values = {**self.__dict__, "change": change, "training": training}
        ignored = {"key", "technique", "values", "combine", "goes_on_from", "resumable"}
        return tuple(value for name, value in sorted(values.items()) if name not in ignored)

    @property
    def made_of(self) -> dict[str, str]:
        """The parts of a combination, as a column of its rows; empty for a registered technique."""
        return {"made_of": " + ".join(self.combine)} if self.combine else {}

    @property
    def protocol(self) -> Protocol:
        """The protocol of the splits that this run uses."""
        return PROTOCOLS[self.setting]

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The technique's values and the learning rate."""
        return {**self.values, "learning_rate": self.training.learning_rate}

    def derived_seed(self, purpose: Literal["weights", "order"]) -> int:
        """A 32-bit seed; equal for equal (study seed, seed, purpose) in all techniques."""
        return derived_seed(self.study_seed, self.seed, purpose)


@dataclass(frozen=True)
class Result:
    """The result of a run.

    `trained`: scalars from the training. `measured`: scalars from a final run's model, which can be
    computed again. Final runs also have `curves`, name → (epochs_run,) float32; `model`, the bytes
    of a .keras file; and, of a classifier, `probabilities`, its outputs for the test examples, (n,
    units) float32. Resumable runs have `checkpoint`: name → array. Final runs with the seed
    `INSPECTED` have `inspection`: the arrays of `inspection.inspect`. `failed`: why a run has no
    result.
    """

    key: str
    trained: Mapping[str, float]
    curves: Mapping[str, np.ndarray] | None = None
    model: bytes | None = None
    probabilities: np.ndarray | None = None
    checkpoint: Mapping[str, np.ndarray] | None = None
    inspection: Mapping[str, np.ndarray] | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    failed: str | None = None

    @property
    def measures(self) -> dict[str, float]:
        """All scalars, by column of runs.csv; those of the exported model take precedence."""
        return {**self.trained, **self.measured}


def chained(runs: Sequence[Run]) -> list[Run]:
    """The runs; of those that train identically, each resumes from the next shorter one.

    A run with early stopping watches from its first epoch, so it resumes from no run that ends
    after that.
    """
    paths: dict[tuple[object, ...], list[Run]] = defaultdict(list)
    for run in runs:
        paths[run.path].append(run)
    predecessor, resumed = {}, set()
    for path in paths.values():
        # Of runs with equally many epochs, the one that may stop early comes first.
        path.sort(key=lambda run: (run.training.epochs, run.change.get(Stopping) is None))
        for run, following in pairwise(path):
            if following.unwatched >= run.training.epochs:
                predecessor[following.key] = run.key
                resumed.add(run.key)
    return [
        replace(run, goes_on_from=predecessor.get(run.key), resumable=run.key in resumed)
        for run in runs
    ]


@dataclass(frozen=True)
class Plan:
    """Makes the runs of one study."""

    name: str
    data_digest: str
    study: Study
    study_seed: int
    engine: Engine
    data_task: Task = CLASSIFICATION  # the task of the data

    @property
    def task(self) -> Task:
        """The task of the models: that of the data, unless the architecture has its own."""
        return self.study.model.own_task or self.data_task

    def trial(self, technique: str, values: Mapping[str, float], seed: int, rung: int = -1) -> Run:
        """One seed (0 … tuning.seeds - 1) of one trial, trained up to a rung of the pruning.

        `values` may include a learning rate.
        """
        # Draws count from the end, so that they differ from those of the final seeds.
        draw = getattr(self.study.data, "draws", 1) - 1 - seed
        rungs = self.study.tuning.rungs
        previous = None
        for epochs in rungs[: range(len(rungs))[rung] + 1]:
            run = self._run(
                technique, values, "trial", FIRST_TUNING_SEED + seed, max(0, draw), epochs
            )
            run = replace(run, goes_on_from=previous, resumable=epochs < rungs[-1])
            previous = run.key if run.change.grows else None
        return run

    def article(self, technique: str, seed: int) -> Run | None:
        """One final run of the article's setting; None if the technique has none."""
        values = self.study.techniques[technique].article
        epochs = self.study.training.epochs
        return (
            None if values is None else self._run(technique, values, "article", seed, seed, epochs)
        )

    def tuned(self, technique: str, values: Mapping[str, float], seed: int) -> Run:
        """One final run with tuned values."""
        return self._run(technique, values, "tuned", seed, seed, self.study.tuning.epochs)

    def _run(
        self,
        technique: str,
        values: Mapping[str, float],
        setting: Phase,
        seed: int,
        draw: int,
        epochs: int,
    ) -> Run:
        training, own = self.study.training, dict(values)
        learning_rate = own.pop("learning_rate", training.learning_rate)
        epochs *= self.study.technique(technique).apply(own).fits
        return Run(
            study=self.name,
            data_digest=self.data_digest,
            model=self.study.model,
            training=Training(training.optimizer, learning_rate, training.batch_size, epochs),
            technique=technique,
            values=own,
            setting=setting,
            seed=seed,
            draw=draw,
            study_seed=self.study_seed,
            program=self.engine.program,
            population=self.engine.population,
            deterministic=self.engine.deterministic,
            combine=self.study.techniques[technique].combine,
            task=self.task,
        )
