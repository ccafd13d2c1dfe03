"""A trainer keeps its data and programs from unit to unit, and nothing that grows."""

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline import params
from pipeline.datasets.sources import prepare
from pipeline.engine import Engine
from pipeline.params import CirclesData, Tuning
from pipeline.trainer import Trainer
from pipeline.units import Plan

BATCH = 10  # trials in one call


@pytest.mark.slow
def test_a_thousand_trials_do_not_grow_the_process() -> None:
    given = params.load().study("circles")
    drawn = CirclesData(test=50, draws=2)
    data = prepare("circles", drawn, 1, Path("nowhere"))
    tuning = Tuning(trials=1000, seeds=1, round=BATCH, epochs=1)
    model = replace(given.model, hidden=(20,))
    plan = Plan(
        "circles",
        data.digest,
        replace(given, data=drawn, model=model, tuning=tuning),
        1,
        params.Engine(),
    )
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
