"""How long models take to predict, told apart from what the machine does meanwhile.

Times of two processes, or of two minutes, differ by more than a claim is about. So calls that are
compared are made in turn, in one process, and what counts is the median of many rounds.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import results

COLUMN = "inference_seconds"  # of one batch of ROWS test rows
ROWS = 256
ROUNDS = 41


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rng: np.random.Generator,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median seconds of each call over so many rounds.

    A round makes every call once, in an order drawn anew, so that none always follows another.
    The first round, in which programs are compiled, does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + rounds):
        for name in rng.permutation(list(calls)).tolist():
            began = clock()
            calls[name]()
            seconds[name].append(clock() - began)
    return {name: float(np.median(each[1:])) for name, each in seconds.items()}


def joined(runs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Final runs with their inference times, where a study's folder has any of them."""
    times = results.read_times(folder, COLUMN)
    if times is None:
        return runs
    known = times[times["key"].isin(runs["key"])]
    return runs if known.empty else runs.merge(known, on="key", how="left")
