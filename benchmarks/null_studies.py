"""Studies of techniques that do nothing, through the whole chain: how often is one told apart?

Every study has fresh data, a search for every technique and replicate, final runs, the summary and
its finding, all as in the stages but in one process. The techniques are penalties whose strengths
are too small to change a result, so what they find differs by the luck of their searches alone. By
chance one is called better or worse in at most one study in twenty.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pipeline.analysis import summary
from pipeline.config.sections import Engine as EngineParams
from pipeline.config.sections import (
    Final,
    SearchRange,
    Study,
    TechniqueParams,
    Training,
    Tuning,
)
from pipeline.datasets import Dataset
from pipeline.datasets.features import FeaturesData, prepare
from pipeline.engine import Engine
from pipeline.models.architectures import Mlp
from pipeline.training.rows import final_row
from pipeline.training.runs import Plan, Result, Run
from pipeline.training.trainer import Trainer
from pipeline.tuning import rounds

STUDIES = 100
OFF = SearchRange(1e-12, 1e-9, log=True)  # strengths without any effect
NULLS = ("l1", "l2", "activity_l1_after")
DATA = FeaturesData(
    input="data/sources/features.yaml",
    inputs=6,
    informative=2,
    separation=0.7,
    train=40,
    validation=40,
    test=200,
    draws=8,
)
STUDY = Study(
    data=DATA,
    model=Mlp("mlp", (8,), "relu"),
    training=Training("adam", 0.01, 40, 40),
    tuning=Tuning(
        trials=3,
        seeds=1,
        round=3,
        epochs=40,
        learning_rate=SearchRange(1e-3, 1e-1, log=True),
    ),
    final=Final(replicates=8),
    techniques={
        "none": TechniqueParams(),
        **{name: TechniqueParams(search={"strength": OFF}) for name in NULLS},
    },
)


@dataclass
class InProcess:
    """A pool that trains in this process; see `rounds.Pool`."""

    trainer: Trainer

    def __post_init__(self) -> None:
        self._added: list[Run] = []

    def add(self, runs: Sequence[Run], instead_of: object = ()) -> None:
        """Adds runs to train."""
        self._added += runs

    def results(self, title: str = "", runs: int = 0, epochs: int = 0) -> Iterator[Result]:
        """Results of the added runs, including runs that are added meanwhile."""
        while self._added:
            first = self._added[0]
            alike = [
                run
                for run in self._added
                if (run.technique, run.setting) == (first.technique, first.setting)
            ]
            self._added = [run for run in self._added if run not in alike]
            yield from self.trainer.run(alike, [None] * len(alike))


def null_studies(studies: int = STUDIES) -> None:
    """Prints how many studies call a technique that does nothing better or worse."""
    engine, false = Engine(), 0
    for seed in range(studies):
        called = false_calls(study(seed, engine))
        false += bool(called)
        if called:
            print(f"  study {seed}: {called}", flush=True)
    print(f"  {false} of {studies} studies tell apart a technique that does nothing")


def false_calls(runs: pd.DataFrame) -> Mapping[str, Sequence[str]]:
    """The groups of a study's finding that must be empty, with the techniques in them."""
    groups = summary.find(summary.summarize(runs)).groups
    return {name: groups[name] for name in ("better", "worse") if groups[name]}


def study(seed: int, engine: Engine, section: Study = STUDY) -> pd.DataFrame:
    """The final runs of a study of the data that `seed` gives, as in runs.csv."""
    data: Dataset = replace(prepare("null", DATA, seed), source="features")
    plan = Plan("null", data.digest, section, seed, EngineParams(), data.task)
    pool = InProcess(Trainer(data, engine))
    searching = rounds.searches(plan)
    for _ in rounds.tune(plan, searching, pool):
        pass
    runs = rounds.final_runs(plan, rounds.tuned(plan, searching))
    pool.add(runs)
    found = {result.key: result for result in pool.results()}
    return pd.DataFrame([final_row(run, found[run.key], data) for run in runs])
