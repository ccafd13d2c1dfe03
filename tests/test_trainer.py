"""A trainer keeps its data and programs from unit to unit, and nothing that grows."""

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline import params
from pipeline.claims import CLAIMS
from pipeline.datasets import Dataset
from pipeline.datasets.sources import prepare
from pipeline.engine import Engine
from pipeline.params import CirclesData, Tuning
from pipeline.summary import COUNTS, MEANS
from pipeline.trainer import Trainer
from pipeline.units import Plan

BATCH = 10  # trials in one call


def small(hidden: int) -> tuple[Dataset, Plan]:
    """Few circles, and a study of one epoch on them."""
    given = params.load().study("circles")
    drawn = CirclesData(test=50, draws=2)
    data = prepare("circles", drawn, 1, Path("nowhere"))
    tuning = Tuning(trials=1000, seeds=1, round=BATCH, epochs=1)
    model = replace(given.model, hidden=(hidden,))
    study = replace(given, data=drawn, model=model, tuning=tuning)
    return data, Plan("circles", data.digest, study, 1, params.Engine())


def test_a_trial_never_meets_the_labels_of_the_test() -> None:
    data, plan = small(20)
    labels = data.y.copy()
    labels[data.splits["leak_free"]["test"]] ^= 1
    unit = plan.trial("l1", {"strength": 1e-3}, 0)
    one, other = (
        dict(Trainer(given, Engine()).run([unit], [None])[0].measures) | {"seconds": 0.0}
        for given in (data, replace(data, y=labels))
    )
    assert one == other
    assert not [name for name in one if name.startswith(("test", "noise", "calibration"))]


def test_a_final_run_has_every_column_that_the_claims_need() -> None:
    data, plan = small(20)
    (result,) = Trainer(data, Engine()).run([plan.tuned("none", {}, 0)], [None])
    assert not {each.measure for c in CLAIMS for each in c.statements} - result.measures.keys()
    assert not {*MEANS, *COUNTS} - result.measures.keys()


@pytest.mark.slow
def test_a_thousand_trials_do_not_grow_the_process() -> None:
    data, plan = small(20)
    trainer, process = Trainer(data, Engine()), psutil.Process()
    resident = []
    for first in range(0, 1000, BATCH):
        strengths = [1e-4 * (1 + i / 1000) for i in range(first, first + BATCH)]
        units = [plan.trial("l1", {"strength": strength}, 0) for strength in strengths]
        trainer.run(units, [None] * BATCH)
        resident.append(process.memory_info().rss / 2**20)
    assert trainer.engine.traces == 1
    late = resident[-1] - resident[len(resident) // 4]
    assert late < 30, f"750 trials added {late:.0f} MiB to {resident[0]:.0f} MiB"
