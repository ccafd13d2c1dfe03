"""Ensembles of final runs: the mean of their models' test probabilities, against single models.

Two kinds, which need no further training:

- *seeds*: up to `SEEDS` runs of one technique on the same training and test examples, in disjoint
  groups of consecutive seeds, each compared with the mean of its members. No two ensembles share a
  run. If every run draws its own data, as in the tuned setting of circles, there are none.
- *techniques*: for every replicate and seed of the tuned setting, one run of each of several
  techniques, compared with the run of the same pair by the technique with the best mean validation
  score. For early stopping this is the score of the best epoch, which is slightly too good.

Where several searches met the same replicates, the runs of the first are combined. The unit is the
replicate, as everywhere: ensembles of one draw or split are averaged, and splits of one file count
as overlapping (`effects.resplit`). In a setting with one split every ensemble is its own unit.

The ensembles are fixed beforehand, so nothing is chosen on test data.

Sources: Hansen and Salamon 1990; Lakshminarayanan, Pritzel and Blundell 2017, arXiv 1612.01474
(five networks that differ in their seeds, and the mean of their probabilities).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import results
from pipeline.analysis import effects
from pipeline.analysis.effects import Effect
from pipeline.analysis.families import family
from pipeline.analysis.statistics import Estimate, Vector
from pipeline.files import replace_csv

SEEDS = 5  # members of an ensemble of seeds, at most
PENALTIES = ("l1", "l2", "l1_l2")  # combined if all are present, as are all tuned techniques
SMALLEST = 1e-7  # lower bound on probabilities, because a mean of probabilities has no logits
COLUMNS = (
    *("study", "setting", "kind", "techniques", "members", "n"),
    *("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_loss"),
    *("single", "single_accuracy", "single_loss"),
    *("difference", "difference_low", "difference_high", "p"),
    *("loss_difference", "loss_difference_low", "loss_difference_high"),
)


@dataclass(frozen=True)
class Predictions:
    """The test probabilities of final runs; runs of one sample have the same examples."""

    samples: dict[str, str]  # key of the run -> name of its sample
    labels: dict[str, np.ndarray]  # sample -> (n,) int
    probabilities: dict[str, np.ndarray]  # key -> (n, classes), or (n, 1) of one sigmoid unit
    weights: dict[str, np.ndarray] = field(default_factory=dict)  # sample -> (n,), if there are any

    def score(self, keys: Sequence[str]) -> tuple[float, float]:
        """Accuracy and loss of the ensemble of these runs, which share a sample."""
        outputs = mean([self.probabilities[key] for key in keys])
        sample = self.samples[keys[0]]
        of_examples = self.labels[sample], self.weights.get(sample)
        return accuracy(outputs, *of_examples), log_loss(outputs, *of_examples)


def read(folder: Path, runs: pd.DataFrame) -> Predictions:
    """The predictions of `runs`.

    Raises UserError if the file or the prediction of a run is missing.
    """
    predictions = Predictions({}, {}, {})
    for sample, key, array in results.read_predictions(folder, runs):
        if key is None:
            predictions.labels[sample] = array
        elif key == results.WEIGHTS:
            predictions.weights[sample] = array
        else:
            predictions.samples[key], predictions.probabilities[key] = sample, array
    return predictions


# One ensemble


def mean(members: Sequence[np.ndarray]) -> Vector:
    """The ensemble's probabilities: the mean over members of equal shape (n, units).

    >>> mean([np.array([[0.25, 0.75]]), np.array([[0.75, 0.25]])]).tolist()
    [[0.5, 0.5]]
    """
    probabilities: Vector = np.mean(members, axis=0, dtype=np.float64)
    return probabilities


def accuracy(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """The share of examples, by their weights, whose most probable class is their label, (n,)."""
    return float(np.average(hits(probabilities, labels), weights=weights))


def hits(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the most probable class of each example is its label, (n,)."""
    return np.asarray(classes(probabilities) == labels)


def classes(probabilities: np.ndarray) -> np.ndarray:
    """The most probable class of each example, (n,)."""
    return np.asarray(_of_classes(probabilities).argmax(axis=1))


def log_loss(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """`mean(-log p)` over the labels' probabilities p, bounded to [1e-7, 1]; by weights, if given.

    For a single model that gives a label a smaller probability, it is below the loss in runs.csv.
    """
    return float(np.average(losses(probabilities, labels), weights=weights))


def losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`-log p` of each example's label, (n,), with p bounded as in `log_loss`."""
    p = _of_classes(probabilities)[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.maximum(p, SMALLEST)))


def _of_classes(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes); those of one sigmoid unit become two columns."""
    if probabilities.shape[1] > 1:
        return probabilities
    return np.hstack([1 - probabilities, probabilities])


# Which runs are combined


@dataclass(frozen=True)
class Ensembles:
    """Ensembles of one kind and the same techniques, compared with the technique `single`."""

    kind: str  # seeds or techniques
    techniques: tuple[str, ...]
    single: str
    members: list[list[str]]  # for each ensemble, the keys of its runs
    singles: list[list[str]]  # for each, the keys of the runs whose mean it is compared with


def of_first_search(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each technique and replicate the runs of the first search."""
    first = runs.groupby(["technique", "replicate"])["search"].transform("min")
    return runs[runs["search"] == first]


def of_seeds(runs: pd.DataFrame, predictions: Predictions) -> Iterator[Ensembles]:
    """The ensembles of each technique with enough runs on one sample.

    `runs`: of one setting and of first searches. An ensemble has `SEEDS` members, or as many as the
    sample with the fewest runs of any technique has, but at least two.
    """
    samples = runs["key"].map(predictions.samples)
    size = min(SEEDS, int(runs.groupby(["technique", samples]).size().min()))
    if size < 2:
        return
    for technique, group in runs.groupby("technique", sort=False):
        keys = group.sort_values("seed")["key"]
        members = [
            list(shared[first : first + size])
            for _, shared in keys.groupby(samples, sort=False)
            for first in range(0, len(shared) - size + 1, size)
        ]
        yield Ensembles("seeds", (str(technique),), str(technique), members, members)


def of_techniques(runs: pd.DataFrame) -> Iterator[Ensembles]:
    """Ensembles across techniques, one per replicate and seed that all of them have.

    `runs`: of a setting without a leak and of first searches.
    """
    present = tuple(str(name) for name in runs["technique"].unique())
    wanted = [PENALTIES] if set(PENALTIES) <= set(present) else []
    for techniques in dict.fromkeys([*wanted, present]):
        if len(techniques) > 1:
            keys = runs.pivot(index=["replicate", "seed"], columns="technique", values="key")
            keys = keys[list(techniques)].dropna()
            single = _best_by_validation(runs[runs["technique"].isin(techniques)])
            members = keys.to_numpy().tolist()
            yield Ensembles(
                "techniques", techniques, single, members, keys[[single]].to_numpy().tolist()
            )


def _best_by_validation(runs: pd.DataFrame) -> str:
    """The technique with the best mean validation score, then the lowest loss."""
    task = results.task_of(runs)
    by_technique = runs.groupby("technique", sort=False)
    means = by_technique[[*dict.fromkeys((task.val.name, "val_loss"))]].mean()
    return min(map(str, means.index), key=lambda name: task.rank(dict(means.loc[name])))


# The table


def summarize(runs: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
    """One row per kind of ensemble and setting, with the columns `COLUMNS`.

    `members` is the number of models in an ensemble, `n` the number of ensembles. Differences are
    ensemble minus single model, with intervals that are simultaneous over the rows of a setting;
    `p` is that of the difference in accuracy and agrees with its interval.
    """
    tables = [
        _summarize_setting(of_first_search(group), predictions)
        for _, group in runs.groupby("setting", sort=False)
    ]
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def write(table: pd.DataFrame, path: Path) -> None:
    """Writes the table as CSV, rounded to ten digits so that the file is equal on all machines."""
    replace_csv(path, table, digits=10)


def _summarize_setting(runs: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
    first = runs.iloc[0]
    kinds = list(of_seeds(runs, predictions))
    if first["setting"] == "tuned":
        kinds += of_techniques(runs)
    scored = [_Scored(each, runs.set_index("key"), predictions) for each in kinds]
    gains = family(
        {index: each.effect(each.differences[:, 0]) for index, each in enumerate(scored)}
    )
    losses = family(
        {index: each.effect(each.differences[:, 1]) for index, each in enumerate(scored)}
    )
    names = {name: first[name] for name in ("study", "setting")}
    rows = [
        names
        | each.row()
        | _columns("difference", gains[index].interval)
        | {"p": gains[index].p_simultaneous}
        | _columns("loss_difference", losses[index].interval)
        for index, each in enumerate(scored)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


class _Scored:
    """Accuracies and losses of ensembles and of their single models, each of shape (n, 2)."""

    def __init__(self, ensembles: Ensembles, runs: pd.DataFrame, predictions: Predictions) -> None:
        self.ensembles = ensembles
        self.scores = np.array([predictions.score(keys) for keys in ensembles.members])
        self.singles = np.array(
            [
                np.mean([predictions.score([key]) for key in keys], axis=0)
                for keys in ensembles.singles
            ]
        )
        samples = [predictions.samples[keys[0]] for keys in ensembles.members]
        several = len(set(samples)) > 1
        self.units = np.array(samples if several else list(map(str, range(len(samples)))))
        self.overlap = float(runs["overlap"].loc[ensembles.members[0][0]])

    @property
    def differences(self) -> np.ndarray:
        """Ensemble minus single model."""
        differences: np.ndarray = self.scores - self.singles
        return differences

    def effect(self, values: Vector) -> Effect:
        """The mean of `values`, shape (n,), over units, with its standard error."""
        means = [values[self.units == unit].mean() for unit in dict.fromkeys(self.units)]
        return effects.resplit(means, self.overlap)

    def row(self) -> dict[str, Any]:
        """What stands in the table without a comparison."""
        return {
            "kind": self.ensembles.kind,
            "techniques": "+".join(self.ensembles.techniques),
            "members": len(self.ensembles.members[0]),
            "n": len(self.scores),
            **_columns("test_accuracy", self.effect(self.scores[:, 0]).interval()),
            "test_loss": self.scores[:, 1].mean(),
            "single": self.ensembles.single,
            "single_accuracy": self.singles[:, 0].mean(),
            "single_loss": self.singles[:, 1].mean(),
        }


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
