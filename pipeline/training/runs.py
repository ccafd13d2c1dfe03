"""One training run as a value: what is trained, on which rows, from which seed.

A run's key is a digest of everything that decides its result, the code included, so a result is
known by its key wherever it is kept: in the journal, in runs.csv, in MLflow.
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
INSPECTED = 0  # the seed whose final runs are looked into
FIRST_TUNING_SEED = 1_000_000  # final seeds count from 0; tuning never shares one


@dataclass(frozen=True)
class Run:
    """One run. `seed` is shared by all techniques; `draw` picks the data where they are drawn."""

    study: str
    data_digest: str
    model: Model
    training: Training  # learning rate and epochs are this unit's own
    technique: str
    values: Mapping[str, float]  # the technique's hyperparameters
    setting: Phase
    seed: int
    draw: int
    study_seed: int
    program: str  # params.yaml's engine.program, population, deterministic: they decide rounding
    population: int | str
    deterministic: bool = True
    goes_on_from: str | None = None  # key of the unit whose checkpoint spares the first epochs
    resumable: bool = False  # whether another unit may go on from this one
    combine: tuple[str, ...] = ()  # what the technique is made of, where it has a study's name
    task: Task = CLASSIFICATION  # what it is trained for
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.meaning))

    @property
    def meaning(self) -> dict[str, Any]:
        """Everything that decides the result, as JSON has it.

        `technique` decides none: it keeps the rows apart of techniques that change the same.
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
        """What the technique changes at these values."""
        return combination(self.combine or (self.technique,)).apply(self.values)

    @property
    def stops_early(self) -> bool:
        """Whether its technique may end it early, so that its score is that of its best epoch."""
        return self.change.get(Stopping) is not None

    @property
    def unwatched(self) -> int:
        """The epochs before the first that early stopping looks at: all, if there is none."""
        epochs, change = self.training.epochs, self.change
        return change.before_last_fit(epochs) if change.get(Stopping) else epochs

    @property
    def path(self) -> tuple[object, ...]:
        """Equal for units that train alike, epoch by epoch, until one of them ends."""
        alike = self.change.without(Stopping)
        training = self.training
        if alike.grows:
            training = replace(training, epochs=1)
        values = {**self.__dict__, "change": alike, "training": training}
        unlike = {"key", "technique", "values", "combine", "goes_on_from", "resumable"}
        return tuple(value for name, value in sorted(values.items()) if name not in unlike)

    @property
    def made_of(self) -> dict[str, str]:
        """The parts of a combination, as a column of its rows; empty for a registered technique."""
        return {"made_of": " + ".join(self.combine)} if self.combine else {}

    @property
    def protocol(self) -> Protocol:
        """Which of the data set's splits this unit uses."""
        return PROTOCOLS[self.setting]

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The technique's values and the learning rate."""
        return {**self.values, "learning_rate": self.training.learning_rate}

    def derived_seed(self, purpose: Literal["weights", "order"]) -> int:
        """A 32-bit seed; equal for equal (study seed, seed, purpose), whatever the technique."""
        return derived_seed(self.study_seed, self.seed, purpose)


@dataclass(frozen=True)
class Result:
    """What came of a run.

    `trained`: scalars that the training tells; `measured`: those that are measured of a final run's
    model, and can be measured again. Final runs also have `curves`, name → (epochs_run,) float32,
    `model`, the bytes of a .keras file, and `probabilities`, what that model, a classifier, puts
    out for each test row, (n, units) float32; resumable ones have `checkpoint`: the arrays to go on
    from, by name; those of seed `INSPECTED` have `inspection`: the arrays of `inspection.inspect`.
    `failed`: why there is nothing of all this.
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
        """Under the names of the columns of runs.csv; the exported model has the last word."""
        return {**self.trained, **self.measured}


def chained(runs: Sequence[Run]) -> list[Run]:
    """The units, those that train alike each going on from the one that ends before it.

    An early stopping looks on from its first epoch, so a unit that has one goes on from none that
    ends later.
    """
    paths: dict[tuple[object, ...], list[Run]] = defaultdict(list)
    for run in runs:
        paths[run.path].append(run)
    before, resumed = {}, set()
    for path in paths.values():
        # Of equal length, the one that may stop early comes first.
        path.sort(key=lambda run: (run.training.epochs, run.change.get(Stopping) is None))
        for run, following in pairwise(path):
            if following.unwatched >= run.training.epochs:
                before[following.key] = run.key
                resumed.add(run.key)
    return [
        replace(run, goes_on_from=before.get(run.key), resumable=run.key in resumed) for run in runs
    ]


@dataclass(frozen=True)
class Plan:
    """Makes the units of one data set's study."""

    name: str
    data_digest: str
    study: Study
    study_seed: int
    engine: Engine
    data_task: Task = CLASSIFICATION  # what the data are for

    @property
    def task(self) -> Task:
        """What models are trained for: the data's task, unless the architecture has its own."""
        return self.study.model.own_task or self.data_task

    def trial(self, technique: str, values: Mapping[str, float], seed: int, rung: int = -1) -> Run:
        """One seed (0 … tuning.seeds - 1) of one trial, trained up to a rung of the pruning.

        `values` may hold a learning rate.
        """
        # Draws count from the end, so that they are not those of the final seeds.
        draw = getattr(self.study.data, "draws", 1) - 1 - seed
        rungs = self.study.tuning.rungs
        before = None
        for epochs in rungs[: range(len(rungs))[rung] + 1]:
            run = self._unit(
                technique, values, "trial", FIRST_TUNING_SEED + seed, max(0, draw), epochs
            )
            run = replace(run, goes_on_from=before, resumable=epochs < rungs[-1])
            before = run.key if run.change.grows else None
        return run

    def article(self, technique: str, seed: int) -> Run | None:
        """One final run of the article's setting; None where the article has none."""
        values = self.study.techniques[technique].article
        epochs = self.study.training.epochs
        return (
            None if values is None else self._unit(technique, values, "article", seed, seed, epochs)
        )

    def tuned(self, technique: str, values: Mapping[str, float], seed: int) -> Run:
        """One final run of the values that were chosen."""
        return self._unit(technique, values, "tuned", seed, seed, self.study.tuning.epochs)

    def _unit(
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
