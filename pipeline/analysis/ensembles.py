"""Ensembles of final runs: the mean of their models' test probabilities, against single models.

Two kinds, both free once the runs are there:

- *seeds*: `SEEDS` runs of one technique that met the same data, in disjoint groups of consecutive
  seeds, each compared with the mean of its members. No two ensembles share a run. Where every seed
  draws data of its own, as in the tuned setting of circles, there are none: such members were
  trained, and would be tested, on different rows.
- *techniques*: at every seed of the tuned setting one run of each of several techniques, compared
  with the run that has the same seed of the technique whose mean validation accuracy is highest
  (that of early stopping is the best of its epochs, which flatters it).

What is combined is fixed beforehand, so nothing is chosen on test data.

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
from pipeline.analysis import statistics
from pipeline.analysis.statistics import Estimate, Vector
from pipeline.files import replace_csv

SEEDS = 5  # members of an ensemble of seeds
PENALTIES = ("l1", "l2", "l1_l2")  # combined where all are present, as are all tuned techniques
SMALLEST = 1e-7  # a mean of probabilities has no logits: no probability is taken for smaller
COLUMNS = (
    *("study", "setting", "kind", "techniques", "members", "n"),
    *("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_loss"),
    *("single", "single_accuracy", "single_loss"),
    *("difference", "difference_low", "difference_high", "p", "p_holm"),
    *("loss_difference", "loss_difference_low", "loss_difference_high"),
)


@dataclass(frozen=True)
class Predictions:
    """Final runs' test probabilities, by key; runs of one sample met the same rows."""

    samples: dict[str, str]  # key -> name of its sample
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
    """The ensemble's probabilities: the mean over members of equal shape (n, units)."""
    found: Vector = np.mean(members, axis=0, dtype=np.float64)
    return found


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows whose likeliest class is their label, (n,)."""
    return float(np.mean(_of_classes(probabilities).argmax(axis=1) == labels))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """`mean(-log p)` over the labels' probabilities p in [1e-7, 1], of single models too.

    For a single model that is surely wrong somewhere it is less than its loss in runs.csv.
    """
    of_labels = _of_classes(probabilities)[np.arange(len(labels)), labels]
    return float(np.mean(-np.log(np.maximum(of_labels, SMALLEST))))


def _of_classes(probabilities: np.ndarray) -> np.ndarray:
    """(n, classes): of one sigmoid unit, its complement goes first."""
    if probabilities.shape[1] > 1:
        return probabilities
    return np.hstack([1 - probabilities, probabilities])


# Which runs are combined


@dataclass(frozen=True)
class Ensembles:
    """Ensembles that are made alike. `single` is the technique they are compared with."""

    kind: str  # seeds or techniques
    techniques: tuple[str, ...]
    single: str
    members: list[list[str]]  # of each ensemble, the keys of its runs
    singles: list[list[str]]  # of each, the keys of the runs whose mean it is compared with


def of_seeds(runs: pd.DataFrame, predictions: Predictions) -> Iterator[Ensembles]:
    """Each technique's ensembles, where enough of its runs share a sample; of one setting."""
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
    """Ensembles across techniques, one a seed; of a setting whose validation data do not leak."""
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
    """The technique of highest mean validation accuracy; of equals, that of the lower loss."""
    means = runs.groupby("technique", sort=False)[["val_accuracy", "val_loss"]].mean()
    return str(means.sort_values(["val_accuracy", "val_loss"], ascending=[False, True]).index[0])


# The table


def summarize(runs: pd.DataFrame, predictions: Predictions, seed: int = 0) -> pd.DataFrame:
    """One row per kind of ensemble and setting, with the columns `COLUMNS`.

    `members` is the number of models in an ensemble, `n` that of ensembles. Differences are those
    of the ensembles to their single models; `p_holm` is corrected over the rows of a setting.
    Intervals and p are empty for fewer than six ensembles, of which a bootstrap would make too
    short ones, and no sign flip a p below 0.05. `seed` fixes bootstrap and random sign flips.
    """
    tables = [
        _summarize_setting(group, predictions, seed)
        for _, group in runs.groupby("setting", sort=False)
    ]
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def write(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV, rounded to ten digits so that machines agree on it."""
    replace_csv(path, table, digits=10)


def _summarize_setting(runs: pd.DataFrame, predictions: Predictions, seed: int) -> pd.DataFrame:
    first = runs.iloc[0]
    made = list(of_seeds(runs, predictions))
    if first["setting"] == "tuned":
        made += of_techniques(runs)
    names = {name: first[name] for name in ("study", "setting")}
    rows = [names | _row(each, predictions, seed) for each in made]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(p_holm=statistics.holm(table["p"].to_numpy(float)))


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
    """The sign-flip p-value, where there are enough values for one that tells anything."""
    if len(differences) < statistics.FEWEST_PAIRS:
        return np.nan
    return statistics.sign_flip_p(differences, np.random.default_rng(seed))


def _columns(name: str, values: Vector, seed: int) -> dict[str, float]:
    """A mean and its interval, where there are enough values for one."""
    if len(values) < statistics.FEWEST_PAIRS:
        estimate = Estimate(float(values.mean()), np.nan, np.nan)
    else:
        estimate = statistics.mean_interval(values, np.random.default_rng(seed))
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
