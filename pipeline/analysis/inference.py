"""How long models take to predict, measured so that the machine's load affects all alike.

Times in two processes, or a minute apart, differ by more than the claims are about. So the calls to
compare are made in turn, in one process, and the median over many rounds counts.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import results

COLUMN = "inference_seconds"  # of one batch of ROWS test examples
ROWS = 256
ROUNDS = 41


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rng: np.random.Generator,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median seconds of each call over `rounds` rounds.

    A round makes every call once, in a new random order, so that no call always follows the same
    other one. The first round, in which programs are compiled, does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + rounds):
        for name in rng.permutation(list(calls)).tolist():
            began = clock()
            calls[name]()
            seconds[name].append(clock() - began)
    return {name: float(np.median(times[1:])) for name, times in seconds.items()}


def joined(runs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Final runs with their inference times, if the study's folder has any of them."""
    times = results.read_times(folder, COLUMN)
    if times is None:
        return runs
    own = times[times["key"].isin(runs["key"])]
    return runs if own.empty else runs.merge(own, on="key", how="left")
