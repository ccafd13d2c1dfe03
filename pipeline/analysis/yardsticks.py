"""Simple models beside the networks: is a network worth it, and which?

All numbers are of the draws that all yardsticks have, those of the networks too. Differences are
yardstick minus network, in the runs of one technique, paired by draw: the value of a draw's
yardstick stands against each of the network's runs on that draw, and all else is as between
techniques (`paired`): what varies, the correction for splits of one file, and, over the yardsticks
of one technique, simultaneous intervals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import results
from pipeline.analysis import by_example, paired
from pipeline.analysis.by_example import Rows
from pipeline.analysis.families import family
from pipeline.analysis.statistics import Estimate
from pipeline.analysis.summary import Finding, turned
from pipeline.analysis.telling import amount
from pipeline.datasets.task import Measure, Task
from pipeline.formatting import UNKNOWN, aligned, counted
from pipeline.techniques.registry import BASELINE


@dataclass(frozen=True)
class Against:
    """A yardstick compared with the network of one technique, over the draws that both have."""

    network: float  # the network's mean score on these draws
    yardstick: float
    difference: Estimate  # yardstick minus network
    gain: Estimate  # the same, turned so that more is better

    @property
    def better(self) -> bool:
        """Whether the yardstick is shown to be better."""
        return self.gain.low > 0

    @property
    def worse(self) -> bool:
        """Whether the network is shown to be better."""
        return self.gain.high < 0


@dataclass(frozen=True)
class Yardstick:
    """What one simple model reaches."""

    name: str  # constant, linear or trees
    words: str  # its name in words
    estimator: str  # of scikit-learn
    mean: Estimate
    draws: int
    rows: int  # trained on
    of_rows: int
    seconds: float  # all fits
    against: Mapping[str, Against]  # by technique

    @property
    def verb(self) -> str:
        """What it does: do or does."""
        return "do" if self.words.endswith("trees") else "does"


@dataclass(frozen=True)
class Yardsticks:
    """Simple models beside the networks of one setting."""

    measure: Measure  # the score
    network: str  # the technique to use; without one, the baseline
    shown: tuple[str, ...]  # the techniques beside which they stand: the baseline, and the best
    networks: Mapping[str, Estimate]  # mean scores of these
    yardsticks: tuple[Yardstick, ...]
    draws: int  # on which all are compared
    of_draws: int  # that the networks have

    @property
    def sentences(self) -> tuple[str, ...]:
        """Who is better, the trees first; on which draws, if not on all."""
        named = {each.name: each for each in self.yardsticks}
        order = [named[name] for name in ("trees", "linear", "constant") if name in named]
        told = tuple(_verdict(self, each) for each in order)
        if self.draws == self.of_draws:
            return told
        first = counted(self.draws, "draw")
        few = f"All numbers here are of the first {first} of {self.of_draws:,}, to bound the time."
        return (*told, few)


def read(
    folder: Path, runs: pd.DataFrame, finding: Finding, best: str, rows: Rows
) -> Yardsticks | None:
    """The yardsticks of a study; None if it has none.

    Args:
        folder: of the study, with yardsticks.csv and predictions.npz.
        runs: final runs.
        finding: of the setting whose networks they stand beside.
        best: the technique that is best on validation data.
        rows: what the runs say about each test example, from `by_example.read`.

    Raises UserError if a file or a column is missing.
    """
    table = results.read_yardsticks(folder)
    if table.empty:
        return None
    simple = by_example.read(folder, table)
    rows = {name: {**keyed, **simple[name]} for name, keyed in rows.items()} if simple else {}
    common = set.intersection(*(set(each["draw"]) for _, each in table.groupby("yardstick")))
    table = table[table["draw"].isin(common)]
    own = runs[runs["setting"] == finding.setting]
    one = len(common) == 1  # then all replicates are on it
    of_draws = 1 if one else own["replicate"].nunique()
    own = own.assign(draw=0 if one else own["replicate"])
    own = own[own["draw"].isin(common)]
    networks = {str(name): group for name, group in own.groupby("technique", sort=False)}
    measure, of_rows = finding.measure, rows.get(finding.measure.name)
    shown = [
        name for name in dict.fromkeys((BASELINE, finding.champion or best)) if name in networks
    ]
    tables = {str(name): each for name, each in table.groupby("yardstick", sort=False)}
    against = {name: _against(tables, each, measure, rows) for name, each in networks.items()}
    return Yardsticks(
        measure=measure,
        network=finding.champion or BASELINE,
        shown=tuple(shown),
        networks={
            name: paired.pairs(networks[name], None, measure.name, rows=of_rows).effect.interval()
            for name in shown
        },
        yardsticks=tuple(
            Yardstick(
                name=name,
                words=_words(name, results.task_of(table)),
                estimator=str(each["estimator"].iloc[0]),
                mean=_mean(each, measure, rows),
                draws=len(each),
                rows=int(each["rows"].iloc[0]),
                of_rows=int(each["of_rows"].iloc[0]),
                seconds=float(each["seconds"].sum()),
                against={technique: by_name[name] for technique, by_name in against.items()},
            )
            for name, each in tables.items()
        ),
        draws=own["draw"].nunique(),
        of_draws=of_draws,
    )


def _words(name: str, task: Task) -> str:
    linear = "logistic regression" if task.labels else "ridge regression"
    return {
        "constant": "a constant prediction",
        "linear": linear,
        "trees": "gradient-boosted trees",
    }[name]


def _mean(table: pd.DataFrame, measure: Measure, rows: Rows) -> Estimate:
    """The mean score of one yardstick over its draws."""
    values = table.assign(search=0, seed=0, replicate=table["draw"])
    return paired.pairs(values, None, measure.name, rows=rows.get(measure.name)).effect.interval()


def _against(
    tables: Mapping[str, pd.DataFrame], network: pd.DataFrame, measure: Measure, rows: Rows
) -> dict[str, Against]:
    """Each yardstick compared with the runs of one technique; one family."""
    sides = {name: _sides(table, network) for name, table in tables.items()}
    pairs = {
        name: [
            paired.pairs(first, second, measure.name, rows=rows.get(measure.name))
            for first, second in ((simple, own), (simple, None), (own, None))
        ]
        for name, (simple, own) in sides.items()
    }
    members = family({name: difference.effect for name, (difference, _, _) in pairs.items()})
    return {
        name: Against(
            network=second.effect.mean,
            yardstick=first.effect.mean,
            difference=members[name].interval,
            gain=turned(measure, members[name].interval),
        )
        for name, (_, first, second) in pairs.items()
    }


def _sides(table: pd.DataFrame, network: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A yardstick's values in the place of the network's runs on its draws, and these runs."""
    values = table.drop(columns=["task"]).merge(network[["draw", *paired.PAIR]], on="draw")
    return values, network


# In words


def network_words(technique: str) -> str:
    """The network of a technique in a sentence."""
    if technique == BASELINE:
        return "the network without regularization"
    return f"the network with {technique}"


def _verdict(found: Yardsticks, yardstick: Yardstick) -> str:
    """Whether a yardstick or the networks are better, and by how much."""
    measure, words, every = found.measure, yardstick.words, yardstick.against
    one = every[found.network]
    best = max(every, key=lambda name: _rank(measure, every[name].network))
    if all(each.better for each in every.values()) and len(every) > 1:
        told = (
            f"{words} {yardstick.verb} better than every network here:"
            f" {_scores(measure, every[best])} with {_with(best)}, the best of them on test data"
            f" ({_difference(measure, every[best].gain)})."
        )
    elif one.better:
        told = (
            f"{words} {yardstick.verb} better than {network_words(found.network)}:"
            f" {_scores(measure, one)} ({_difference(measure, one.gain)})."
        )
        if len(every) > 1:
            told += " That this holds for every technique is not shown."
    elif one.worse:
        reverse = Estimate(-one.gain.mean, -one.gain.high, -one.gain.low)
        told = (
            f"{network_words(found.network)} does better than {words}:"
            f" {measure.told(one.network)} against {measure.told(one.yardstick)}"
            f" ({_difference(measure, reverse)})."
        )
    else:
        told = (
            f"no difference between {words} and {network_words(found.network)} is shown:"
            f" {_scores(measure, one)} ({_signed(measure, one.difference)})."
        )
    return f"{told[0].upper()}{told[1:]}{_bounded(yardstick)}"


def _rank(measure: Measure, value: float) -> float:
    return measure.sign * value if np.isfinite(value) else -np.inf


def _with(technique: str) -> str:
    return "no regularization" if technique == BASELINE else technique


def _scores(measure: Measure, against: Against) -> str:
    return f"{measure.told(against.yardstick)} against {measure.told(against.network)}"


def _difference(measure: Measure, gain: Estimate) -> str:
    """The size of a gain and its interval: difference 3.00 points [1.00, 5.00]."""
    low, high = (measure.difference(end).lstrip("+") for end in gain[1:])
    return f"difference {amount(measure, gain.mean)} [{low}, {high}]"


def _signed(measure: Measure, difference: Estimate) -> str:
    """A difference with its sign and interval; of one replicate, that it has none."""
    if not np.isfinite(difference.low):
        return "with one replicate, none can be"
    mean, low, high = map(measure.difference, difference)
    return f"difference {mean}{measure.difference_unit} [{low}, {high}]"


def _bounded(yardstick: Yardstick) -> str:
    """That a yardstick had less to learn from than the networks; empty if it had not."""
    if yardstick.rows == yardstick.of_rows:
        return ""
    return f" Trained on {yardstick.rows:,} of {yardstick.of_rows:,} rows, to bound its time."


def table(found: Yardsticks) -> str:
    """Who is better, then the yardsticks and the networks beside them, as plain text."""
    measure, points = found.measure, ", points" if found.measure.share else ""
    head = (
        *("", measure.heading),
        *(f"difference to {name}{points}" for name in found.shown),
        *("draws", "rows"),
    )
    networks = [
        (
            *(network_words(name).removeprefix("the "), _interval(measure, mean)),
            *[""] * len(found.shown),
            *(str(found.draws), ""),
        )
        for name, mean in found.networks.items()
    ]
    simple = [
        (
            each.words.removeprefix("a "),
            _interval(measure, each.mean),
            *(difference_text(measure, each.against[name].difference) for name in found.shown),
            *(str(each.draws), f"{each.rows:,}"),
        )
        for each in found.yardsticks
    ]
    title = "Yardsticks (95 % intervals, of differences simultaneous)"
    return "\n".join([*found.sentences, aligned(title, [head, *networks, *simple])])


def _interval(measure: Measure, estimate: Estimate) -> str:
    if not np.isfinite(estimate.low):
        return measure.value(estimate.mean)
    mean, low, high = map(measure.value, estimate)
    return f"{mean} [{low}, {high}]"


def difference_text(measure: Measure, difference: Estimate) -> str:
    """A difference without its unit, with its interval if there is one."""
    mean, low, high = map(measure.difference, difference)
    return mean if low == UNKNOWN else f"{mean} [{low}, {high}]"
