"""What the searches of a technique chose, and how sure these choices were: tuned.json, read.

A technique has one search for each replicate, or a few whose choices meet all replicates. Its value
is told as the median of what they chose, on the scale of its range, with the smallest and largest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pipeline.datasets.task import named
from pipeline.formatting import number
from pipeline.results import techniques_at

Tuned = Mapping[str, Any]  # tuned.json


@dataclass(frozen=True)
class Value:
    """One hyperparameter, as the searches of a technique chose it."""

    name: str
    median: float
    low: float  # the smallest and
    high: float  # the largest of the searches
    at_edge: int  # searches whose value lies at an end of the range
    searched: Mapping[str, Any] | None  # low, high, log and integer; None: held fixed

    @property
    def range(self) -> str:
        """The search range, such as 1e-6 to 0.1, log scale; held fixed without one."""
        if self.searched is None:
            return "held fixed"
        scale = ", log scale" if self.searched["log"] else ""
        return f"{number(self.searched['low'])} to {number(self.searched['high'])}{scale}"

    def where(self, searches: int) -> str:
        """In how many searches it lies at an edge; empty if there is one search."""
        return f" in {self.at_edge} of {searches} searches" if searches > 1 else ""

    def text(self, searches: int) -> str:
        """The median, and what the searches' values span if they differ.

        >>> Value("strength", 0.001, 0.0002, 0.03, 0, None).text(searches=3)
        'strength 0.001 (0.0002 to 0.03 over 3 searches)'
        """
        median = f"{self.name.replace('_', ' ')} {number(self.median)}"
        if self.low == self.high:
            return median
        return f"{median} ({number(self.low)} to {number(self.high)} over {searches} searches)"


@dataclass(frozen=True)
class Chosen:
    """The choices of a technique's searches."""

    technique: str
    values: tuple[Value, ...]
    searches: int
    as_good_as_off: int  # searches whose choice is no better than the baseline's by one error
    error: float  # median standard error of the difference of two candidates, in the score's unit
    score: float | None  # mean validation score of the chosen trials; None if one diverged
    rank: tuple[float, float]  # sort key of mean score and loss on validation: smaller is better
    stops_early: bool

    @property
    def at_edge(self) -> tuple[str, ...]:
        """The hyperparameters that lie at an end of their range in at least one search."""
        return tuple(value.name for value in self.values if value.at_edge)

    @property
    def medians(self) -> dict[str, float]:
        """The values to use."""
        return {value.name: value.median for value in self.values}

    @property
    def text(self) -> str:
        """The values in words, the learning rate last."""
        ordered = sorted(self.values, key=lambda value: value.name == "learning_rate")
        parts = [value.text(self.searches) for value in ordered]
        return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)

    @property
    def off(self) -> str:
        """That the searches chose no regularization; empty if none of them did."""
        if self.as_good_as_off == 0:
            return ""
        if self.as_good_as_off == self.searches:
            return "the search chose no regularization"
        return (
            f"in {self.as_good_as_off} of {self.searches} searches the search chose no"
            " regularization"
        )


def chosen(tuned: Tuned, technique: str, size: int | None = None) -> Chosen:
    """The choices of one technique, at a size of what the study varies, if it does.

    Raises KeyError if tuned.json lacks it.
    """
    entry, task = techniques_at(tuned, size)[technique], named(tuned["task"])
    searches, ranges = entry["searches"], entry["search"]
    scores = [search[task.val.name] for search in searches]
    means = {task.val.name: _mean(scores), "val_loss": _mean([s["val_loss"] for s in searches])}
    errors = [np.nan if search["error"] is None else search["error"] for search in searches]
    return Chosen(
        technique=technique,
        values=tuple(_value(name, searches, ranges.get(name)) for name in searches[0]["values"]),
        searches=len(searches),
        as_good_as_off=sum(search["as_good_as_off"] for search in searches),
        error=float(np.median(errors)),
        score=means[task.val.name],
        rank=task.rank(means),
        stops_early=entry["stops_early"],
    )


def choices(tuned: Tuned, size: int | None = None) -> dict[str, Chosen]:
    """The choices of every technique that was searched, at a size of what the study varies."""
    return {name: chosen(tuned, name, size) for name in techniques_at(tuned, size)}


def searched(tuned: Tuned) -> bool:
    """Whether a search chose any value, of the learning rate of the baseline even."""
    entries = tuned["techniques"].values()
    return any(entry["search"] for entry in entries)


def by_validation(tuned: Tuned) -> str:
    """The technique whose choices have the best mean validation score, then the lowest loss."""
    every = choices(tuned)
    return min(every, key=lambda name: every[name].rank)


def median(values: ArrayLike, log: bool, integer: bool) -> float:
    """The median of `values`, shape (n,), on the scale of their range.

    >>> median([0.001, 0.1], log=True, integer=False), median([2, 5], log=False, integer=True)
    (0.01, 4.0)
    """
    x = np.asarray(values, dtype=np.float64)
    middle = float(np.exp(np.median(np.log(x))) if log and (x > 0).all() else np.median(x))
    if integer:
        return float(np.floor(middle + 0.5))
    # One search's own value, of which exp and log would change the last bits.
    return float(x[np.argmin(np.abs(x - middle))]) if x.size % 2 else float(f"{middle:.10g}")


def _value(name: str, searches: Any, searched: Mapping[str, Any] | None) -> Value:
    values = [float(search["values"][name]) for search in searches]
    scale = searched or {"log": False, "integer": False}
    return Value(
        name=name,
        median=median(values, scale["log"], scale["integer"]),
        low=min(values),
        high=max(values),
        at_edge=sum(name in search["at_edge"] for search in searches),
        searched=searched,
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
