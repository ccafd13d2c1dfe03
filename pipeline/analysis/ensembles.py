"""Ensembles of final runs: the mean of their models' test probabilities, against single models.

Two kinds, which need no further training:

- *seeds*: `SEEDS` runs of one technique on the same data, in disjoint groups of consecutive seeds,
  each compared with the mean of its members. No two ensembles share a run. If every seed draws its
  own data, as in the tuned setting of circles, there are none, because the members were trained and
  would be tested on different examples.
- *techniques*: for every seed of the tuned setting, one run of each of several techniques, compared
  with the run of the same seed by the technique with the highest mean validation accuracy. For
  early stopping this is the accuracy of the best epoch, which is slightly too high.

The ensembles are fixed beforehand, so nothing is chosen on test data.

Sources: Hansen and Salamon 1990; Lakshminarayanan, Pritzel and Blundell 2017, arXiv 1612.01474
(five networks that differ in their seeds, and the mean of their probabilities).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import results
from pipeline.analysis import families, statistics
from pipeline.analysis.statistics import Estimate, Vector
from pipeline.files import replace_csv

SEEDS = 5  # members of an ensemble of seeds
PENALTIES = ("l1", "l2", "l1_l2")  # combined if all are present, as are all tuned techniques
SMALLEST = 1e-7  # lower bound on probabilities, because a mean of probabilities has no logits
COLUMNS = (
    *("study", "setting", "kind", "techniques", "members", "n"),
    *("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_loss"),
    *("single", "single_accuracy", "single_loss"),
    *("difference", "difference_low", "difference_high", "p", "p_holm"),
    *("loss_difference", "loss_difference_low", "loss_difference_high"),
)


@dataclass(frozen=True)
class Predictions:
    """The test probabilities of final runs; runs of one sample have the same examples."""

    samples: dict[str, str]  # key of the run -> name of its sample
    labels: dict[str, np.ndarray]  # sample -> (n,) int
    probabilities: dict[str, np.ndarray]  # key -> (n, classes), or (n, 1) of one sigmoid unit

    def score(self, keys: Sequence[str]) -> tuple[float, float]:
        """Accuracy and loss of the ensemble of these runs, which share a sample."""
        outputs = mean([self.probabilities[key] for key in keys])
        labels = self.labels[self.samples[keys[0]]]
        return accuracy(outputs, labels), log_loss(outputs, labels)


def read(folder: Path, runs: pd.DataFrame) -> Predictions:
    """The predictions of `runs`.

    Raises UserError if the file or the prediction of a run is missing.
    """
    predictions = Predictions({}, {}, {})
    for sample, key, array in results.read_predictions(folder, runs):
        if key is None:
            predictions.labels[sample] = array
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


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The share of examples whose most probable class is their label, shape (n,)."""
    return float(np.mean(_of_classes(probabilities).argmax(axis=1) == labels))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """`mean(-log p)` over the labels' probabilities p, bounded to [1e-7, 1].

    For a single model that gives a label a smaller probability, it is below the loss in runs.csv.
    """
    p = _of_classes(probabilities)[np.arange(len(labels)), labels]
    return float(np.mean(-np.log(np.maximum(p, SMALLEST))))


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


def of_seeds(runs: pd.DataFrame, predictions: Predictions) -> Iterator[Ensembles]:
    """The ensembles of each technique with enough runs on one sample; `runs` is one setting."""
    for technique, group in runs.groupby("technique", sort=False):
        keys = group.sort_values("seed")["key"]
        members = [
            list(shared[first : first + SEEDS])
            for _, shared in keys.groupby(keys.map(predictions.samples), sort=False)
            for first in range(0, len(shared) - SEEDS + 1, SEEDS)
        ]
        if members:
            yield Ensembles("seeds", (str(technique),), str(technique), members, members)


def of_techniques(runs: pd.DataFrame) -> Iterator[Ensembles]:
    """Ensembles across techniques, one per seed; `runs` is a setting without a leak."""
    present = tuple(str(name) for name in runs["technique"].unique())
    wanted = [PENALTIES] if set(PENALTIES) <= set(present) else []
    for techniques in dict.fromkeys([*wanted, present]):
        if len(techniques) > 1:
            keys = runs.pivot(index="seed", columns="technique", values="key")
            single = _best_by_validation(runs[runs["technique"].isin(techniques)])
            members = keys[list(techniques)].to_numpy().tolist()
            yield Ensembles(
                "techniques", techniques, single, members, keys[[single]].to_numpy().tolist()
            )


def _best_by_validation(runs: pd.DataFrame) -> str:
    """The technique with the highest mean validation accuracy, then the lowest loss."""
    means = runs.groupby("technique", sort=False)[["val_accuracy", "val_loss"]].mean()
    return str(means.sort_values(["val_accuracy", "val_loss"], ascending=[False, True]).index[0])


# The table


def summarize(runs: pd.DataFrame, predictions: Predictions, seed: int = 0) -> pd.DataFrame:
    """One row per kind of ensemble and setting, with the columns `COLUMNS`.

    `members` is the number of models in an ensemble, `n` the number of ensembles. Differences are
    ensemble minus single model; `p_holm` is corrected over the rows of a setting. With fewer than
    six ensembles, intervals and p are empty: bootstrap intervals would be too narrow, and no
    sign-flip p can be below 0.05. `seed` fixes bootstrap and random sign flips.
    """
    tables = [
        _summarize_setting(group, predictions, seed)
        for _, group in runs.groupby("setting", sort=False)
    ]
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def write(table: pd.DataFrame, path: Path) -> None:
    """Writes the table as CSV, rounded to ten digits so that the file is equal on all machines."""
    replace_csv(path, table, digits=10)


def _summarize_setting(runs: pd.DataFrame, predictions: Predictions, seed: int) -> pd.DataFrame:
    first = runs.iloc[0]
    kinds = list(of_seeds(runs, predictions))
    if first["setting"] == "tuned":
        kinds += of_techniques(runs)
    names = {name: first[name] for name in ("study", "setting")}
    rows = [names | _row(ensembles, predictions, seed) for ensembles in kinds]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(p_holm=families.holm(table["p"].to_numpy(float)))


def _row(ensembles: Ensembles, predictions: Predictions, seed: int) -> dict[str, Any]:
    scores = np.array([predictions.score(keys) for keys in ensembles.members])
    singles = np.array(
        [np.mean([predictions.score([key]) for key in keys], axis=0) for keys in ensembles.singles]
    )
    differences = scores - singles
    return {
        "kind": ensembles.kind,
        "techniques": "+".join(ensembles.techniques),
        "members": len(ensembles.members[0]),
        "n": len(scores),
        **_columns("test_accuracy", scores[:, 0], seed),
        "test_loss": scores[:, 1].mean(),
        "single": ensembles.single,
        "single_accuracy": singles[:, 0].mean(),
        "single_loss": singles[:, 1].mean(),
        **_columns("difference", differences[:, 0], seed),
        "p": _p(differences[:, 0], seed),
        **_columns("loss_difference", differences[:, 1], seed),
    }


def _p(differences: Vector, seed: int) -> float:
    """The sign-flip p-value; nan with too few values for any significance."""
    if len(differences) < statistics.FEWEST_PAIRS:
        return np.nan
    return statistics.sign_flip_p(differences, np.random.default_rng(seed))


def _columns(name: str, values: Vector, seed: int) -> dict[str, float]:
    """A mean and its interval, which is nan with too few values."""
    if len(values) < statistics.FEWEST_PAIRS:
        estimate = Estimate(float(values.mean()), np.nan, np.nan)
    else:
        estimate = statistics.mean_interval(values, np.random.default_rng(seed))
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
