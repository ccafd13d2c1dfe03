"""One training run as a value: what is trained, on which examples, from which seed.

A run's key is a digest of everything that decides its result, including the code. It identifies the
result wherever that is stored: in the journal, in runs.csv, in MLflow.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from pipeline.config import rules
from pipeline.config.sections import OF_TRAINING, Engine, Study, Training
from pipeline.datasets import Dataset, Ints, Part, Protocol
from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.errors import UserError
from pipeline.models.architectures import Model, size_problem
from pipeline.results import SIZE
from pipeline.techniques.changes import Change
from pipeline.techniques.registry import combination
from pipeline.techniques.training import Stopping
from pipeline.training.identity import canonical, code_digest, key_of, scoring_digest
from pipeline.training.seeds import derived_seed

TUNED, BY_LOSS = "tuned", "tuned_by_loss"
ARTICLE = "article"  # on the article's own points and split, if it has some
ARTICLE_FRESH = "article_fresh"  # the article's values on draws that it never saw
INSPECTED = 0  # the seed whose final runs are inspected, of the first search
MODELS = 10  # seeds whose models are kept beside the results
FIRST_TUNING_SEED = 1_000_000  # final seeds count from 0; tuning never shares one


@dataclass(frozen=True)
class Run:
    """One run. All techniques share `seed`; `draw` selects a draw or split of the data.

    `replicate` and `search` say what a run is compared with; see `analysis.paired`.
    """

    study: str
    data_digest: str
    model: Model
    training: Training  # with this run's own learning rate and epochs
    technique: str
    values: Mapping[str, float]  # the technique's hyperparameters
    setting: str  # trial, or a setting of final runs
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
    search: int = 0  # of which search its values are; in a trial, which search it belongs to
    replicate: int = 0
    train_rows: int | None = None  # the first so many training examples; None: all
    size: int | None = None  # of what its study varies, if it does
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.meaning))

    @property
    def meaning(self) -> dict[str, Any]:
        """Everything that decides the result, for JSON.

        `technique`, and `search` if it is not the first, are the exceptions: they separate rows
        of equal runs.
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
            "training": _training(self.training),
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
            **({"search": self.search} if self.search else {}),
            **({"train_rows": self.train_rows} if self.train_rows else {}),
            **({"scoring": scoring_digest()} if self.scored_by_weights else {}),
        }

    @property
    def change(self) -> Change:
        """The technique's change for these values."""
        return combination(self.combine or (self.technique,)).apply(self.values)

    @property
    def scored_by_weights(self) -> bool:
        """Whether it is a trial whose validation score training has no curve of."""
        return self.setting == "trial" and self.task.score != self.task.followed

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
        ignored |= {"search", "replicate"}
        return tuple(value for name, value in sorted(values.items()) if name not in ignored)

    @property
    def at(self) -> dict[str, int]:
        """The size as a column of tables; empty without one."""
        return {} if self.size is None else {SIZE: self.size}

    @property
    def inspected(self) -> bool:
        """Whether arrays from inside its model are kept, for figures."""
        first = self.seed == INSPECTED and self.search == 0
        return self.setting != "trial" and first and self.size is None

    @property
    def keeps_model(self) -> bool:
        """Whether its model is kept beside the results; predictions are kept of all runs.

        Those of the first seeds: of the first search, or of the search that the replicate has.
        """
        own = self.search in (0, self.replicate)
        return self.setting != "trial" and self.seed < MODELS and own and self.size is None

    @property
    def made_of(self) -> dict[str, str]:
        """The parts of a combination, as a column of its rows; empty for a registered technique."""
        return {"made_of": " + ".join(self.combine)} if self.combine else {}

    @property
    def protocol(self) -> Protocol:
        """The protocol of the splits that this run uses."""
        return "article" if self.setting == ARTICLE else "leak_free"

    def rows(self, dataset: Dataset, part: Part) -> Ints:
        """The examples of one part that the run uses, as rows of the pool, (n,)."""
        rows = dataset.rows(self.protocol, part, self.draw)
        return rows[: self.train_rows] if part == "train" else rows

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The technique's values, the learning rate, and the momentum if there is any."""
        momentum = self.training.momentum
        return {
            **self.values,
            "learning_rate": self.training.learning_rate,
            **({"momentum": momentum} if momentum else {}),
        }

    def derived_seed(self, purpose: Literal["weights", "order"]) -> int:
        """A 32-bit seed; equal for equal (study seed, seed, purpose) in all techniques."""
        return derived_seed(self.study_seed, self.seed, purpose)


@dataclass(frozen=True)
class Result:
    """The result of a run.

    `trained`: scalars from the training. `measured`: scalars from a final run's model, which can be
    computed again. Final runs also have `curves`, name → (epochs_run,) float32; `model`, the bytes
    of a .keras file; and `probabilities` for the test examples, (n, units) float32: the outputs of
    a classifier, or the numbers that a regression predicts. Trials have `weights`, of which test
    scores are computed after the choice. Resumable runs have `checkpoint`: name → array. Inspected
    final runs have `inspection`: the arrays of `inspection.inspect`. `failed`: why a run has no
    result.
    """

    key: str
    trained: Mapping[str, float]
    curves: Mapping[str, np.ndarray] | None = None
    model: bytes | None = None
    probabilities: np.ndarray | None = None
    checkpoint: Mapping[str, np.ndarray] | None = None
    inspection: Mapping[str, np.ndarray] | None = None
    weights: Sequence[np.ndarray] | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    failed: str | None = None

    @property
    def measures(self) -> dict[str, float]:
        """All scalars, by column of runs.csv; those of the exported model take precedence."""
        return {**self.trained, **self.measured}


def _training(training: Training) -> dict[str, Any]:
    """The meaning of a training; a momentum of 0 is left out, as in keys from before it."""
    meaning: dict[str, Any] = canonical(training)
    return {name: value for name, value in meaning.items() if name != "momentum" or value}


def chained(runs: Sequence[Run]) -> list[Run]:
    """The runs; of those that train identically, each resumes from the next shorter one.

    A run with early stopping watches from its first epoch, so it resumes from no run that ends
    after that. Nothing resumes from a second fit, whose optimizer started anew.
    """
    paths: dict[tuple[object, ...], list[Run]] = defaultdict(list)
    for run in runs:
        paths[run.path].append(run)
    predecessor, resumed = {}, set()
    for path in paths.values():
        # Of runs with equally many epochs, the one that may stop early comes first.
        path.sort(key=lambda run: (run.training.epochs, run.change.get(Stopping) is None))
        before: Run | None = None
        for run in path:
            if before is not None and run.unwatched >= before.training.epochs:
                predecessor[run.key] = before.key
                resumed.add(before.key)
            before = run if run.change.fits == 1 else None
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
    size: int | None = None  # of what the study varies, if it does

    @property
    def sizes(self) -> "tuple[Plan, ...]":
        """The plan at each size of what the study varies; without that, the plan itself."""
        vary = self.study.final.vary
        if vary is None:
            return (self,)
        return tuple(replace(self, study=self.study.at(n), size=n) for n in vary.sizes)

    def check_rows(self, data: Dataset) -> None:
        """Raises UserError if model, batch or what the study varies does not fit the data."""
        self._check_model(data)
        rows, vary = data.rows("leak_free", "train", 0).size, self.study.final.vary
        if vary is not None and vary.rows and vary.sizes[-1] > rows:
            raise UserError(
                f"`final.vary.rows` must be at most the {rows} training rows of {self.name}, but "
                f"got {vary.sizes[-1]} (params.yaml: studies.{self.name})"
            )

    def _check_model(self, data: Dataset) -> None:
        """As the checks of params.yaml, of data whose sizes are known only when they are there."""
        rows = data.rows("leak_free", "train", 0).size
        problem = size_problem(self.study.model, data.input_shape) or rules.batch_problem(
            self.study.training.batch_size, rows
        )
        if problem:
            raise UserError(f"params.yaml:studies.{self.name}.{problem}")

    @property
    def tuned_setting(self) -> str:
        """The setting of the final runs with values that a search chose."""
        vary = self.study.final.vary
        return TUNED if vary is None or self.size is None else vary.setting(self.size)

    @property
    def task(self) -> Task:
        """The task of the models: that of the data, unless the architecture has its own."""
        return self.study.model.own_task or self.data_task

    def trial(
        self,
        technique: str,
        values: Mapping[str, float],
        search: int,
        turn: int,
        rung: int = -1,
    ) -> Run:
        """One run (turn 0 … tuning.draws - 1) of one trial, trained up to a rung of the pruning.

        Each run has a seed of its own, and, where all settings meet all draws, a draw of its own
        that no final run has; else all runs of a search have the draw of their replicate. `values`
        may include a learning rate.
        """
        final, index = self.study.final, search * self.study.tuning.draws + turn
        # Draws count from the end, so that they differ from those of final runs.
        draw = self.draws_of("trial") - 1 - index if final.crossed else search
        rungs = self.study.tuning.rungs
        previous = None
        for epochs in rungs[: range(len(rungs))[rung] + 1]:
            seed = FIRST_TUNING_SEED + index
            run = self._run(technique, values, "trial", seed, draw, epochs, search, search)
            run = replace(run, goes_on_from=previous, resumable=epochs < rungs[-1])
            previous = run.key if run.change.grows else None
        return run

    def article(self, technique: str, setting: str = ARTICLE) -> list[Run]:
        """The final runs of the article's values; none if the technique has none.

        In the setting `article` they have the article's own examples, if it has some, and each
        replicate is a seed; else they have draws or splits.
        """
        values, final = self.study.techniques[technique].article, self.study.final_of(technique)
        if values is None:
            return []
        own_points = setting == ARTICLE and self.study.data.article_points
        epochs = self.study.training.epochs
        return [
            self._run(technique, values, setting, seed, replicate, epochs, 0, replicate)
            for replicate in range(final.article)
            for seed in ([replicate] if own_points else self._seeds(technique, replicate))
        ]

    def tuned(
        self,
        technique: str,
        values: Mapping[str, float],
        search: int,
        setting: str | None = None,
    ) -> list[Run]:
        """The final runs with the values that one search chose; `setting`: tuned by default."""
        setting = setting or self.tuned_setting
        final, epochs = self.study.final_of(technique), self.study.tuning.epochs
        replicates = range(final.replicates) if final.crossed else (search,)
        return [
            self._run(technique, values, setting, seed, replicate, epochs, search, replicate)
            for replicate in replicates
            for seed in self._seeds(technique, replicate)
        ]

    def _seeds(self, technique: str, replicate: int) -> range:
        """A technique's seeds on a replicate: the first of those that the study has there."""
        first = replicate * self.study.final.seeds
        return range(first, first + self.study.final_of(technique).seeds)

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings with the article's values."""
        data = self.study.data
        fresh = data.article_points and data.own_draws is not None
        return (ARTICLE, ARTICLE_FRESH) if fresh else (ARTICLE,)

    def _run(
        self,
        technique: str,
        values: Mapping[str, float],
        setting: str,
        seed: int,
        draw: int,
        epochs: int,
        search: int,
        replicate: int,
    ) -> Run:
        training, own, vary = self.study.training, dict(values), self.study.final.vary
        of_training: dict[str, Any] = {name: own.pop(name) for name in OF_TRAINING if name in own}
        fits = self.study.technique(technique).apply(own).fits
        epochs = fits * int(of_training.pop("epochs", epochs))
        return Run(
            study=self.name,
            data_digest=self.data_digest,
            model=self.study.model,
            training=replace(training, **of_training, epochs=epochs),
            technique=technique,
            values=own,
            setting=setting,
            seed=seed,
            draw=draw if self.draws_of(setting) > 1 else 0,
            study_seed=self.study_seed,
            program=self.engine.program,
            population=self.engine.population,
            deterministic=self.engine.deterministic,
            combine=self.study.techniques[technique].combine,
            task=self.task,
            search=search,
            replicate=replicate,
            train_rows=self.size if vary is not None and vary.rows else None,
            size=self.size,
        )

    def draws_of(self, setting: str) -> int:
        """How many draws or splits the data have in a setting."""
        own_points = setting == ARTICLE and self.study.data.article_points
        return 1 if own_points else self.study.data.own_draws or 1
