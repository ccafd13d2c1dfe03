"""How benchmarks take turns."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from benchmarks.processes import Part, in_turn

Span = tuple[float, float]


def sleeping(seconds: float) -> Callable[[], Span]:
    """Measures when it slept, on a clock that all processes share."""

    def sleep() -> Span:
        began = time.monotonic()
        time.sleep(seconds)
        return began, time.monotonic()

    return sleep


def failing(when: str) -> Callable[[], None]:
    if when == "prepare":
        raise OSError("no memory to prepare")

    def fail() -> None:
        raise OSError("no memory to measure")

    return fail


@pytest.mark.slow
def test_parts_measure_one_after_the_other_each_in_all_its_processes() -> None:
    measured = in_turn(3, Part(2, sleeping, (0.05,)), Part(1, sleeping, (0.01,)))
    assert [[len(turn) for turn in part] for part in measured] == [[2, 2, 2], [1, 1, 1]]
    both, single = measured
    turns = [spans for turn in zip(both, single, strict=True) for spans in turn]
    for before, after in pairwise(turns):
        assert max(end for _, end in before) <= min(began for began, _ in after)
    for first, second in both:
        assert max(first[0], second[0]) < min(first[1], second[1]), "not at the same time"


@pytest.mark.slow
@pytest.mark.parametrize("when", ["prepare", "measure"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_part_that_fails_ends_the_others_too(when: str, index: int) -> None:
    parts = [Part(1, sleeping, (0.01,))]
    parts.insert(index, Part(1, failing, (when,)))
    with pytest.raises(OSError, match=f"no memory to {when}"):
        in_turn(2, *parts)
