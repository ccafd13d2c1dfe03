"""Rows beside those of runs.csv, for what claims compare although no run trained it.

They have the columns of runs.csv that pair them, and of measures only those that they are about.

- `ensemble`: the mean prediction of an L1, an L2 and an L1-L2 model, from stored predictions
- `dropout_sampled`, `dropout_unsampled`: the dropout network's prediction as the mean over random
  masks, and without masks on the same examples
- `dropout_fixed_epochs`: the dropout network at the best fixed number of epochs, from its curves
- `dropout_stopped`: the dropout network with early stopping, of at most as many epochs as those
- `dropout_second_fit`, `dropout_as_long`, `none_as_long`: after the last epoch of a second fit, and
  after as many epochs of one fit, from curves
- `linear`, `linear_l1`: logistic regression, fitted here
- `l2_smallest`, `l2_largest` and the like: a technique's gain at the ends of what a study varies
- a study `shuffling`: fits with one order of the rows and with fresh ones, from a committed table
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import datasets, results
from pipeline.analysis import ensembles, linear, paired
from pipeline.analysis.paired import PAIR
from pipeline.errors import UserError
from pipeline.techniques.registry import BASELINE

SHARED = ("study", "task", "setting", "leaks", *PAIR, "overlap", "diverged")
ENSEMBLE, FIXED_EPOCHS, STOPPED = "ensemble", "dropout_fixed_epochs", "dropout_stopped"
SECOND_FIT, AS_LONG = "dropout_second_fit", "{}_as_long"
AT_ONCE = ("dropout", BASELINE)  # what a second fit is compared with
LONGER = "{}_longer"  # a technique's runs with more epochs than the article's
SAMPLED, UNSAMPLED = "dropout_sampled", "dropout_unsampled"
SMALLEST, LARGEST = "{}_smallest", "{}_largest"
SIZED = tuple(end.format(name) for name in ("l2", "dropout") for end in (SMALLEST, LARGEST))
SHUFFLING = "shuffling"  # the name of its study
ORDERS = ("seeded", "unseeded", "engine", "engine_one_order")
MEASURED_ORDERS = Path("benchmarks/shuffling.csv")
NEEDS: Mapping[str, str] = {
    ENSEMBLE: "tuned runs of l1, l2 and l1_l2",
    **dict.fromkeys((SAMPLED, UNSAMPLED), "runs of dropout that were measured with masks"),
    **dict.fromkeys(
        (FIXED_EPOCHS, STOPPED),
        "article runs of dropout_early_stopping, and of dropout on several replicates",
    ),
    **dict.fromkeys(
        (SECOND_FIT, *map(AS_LONG.format, AT_ONCE)),
        "article runs of dropout_early_stopping_again, dropout_longer and none_longer",
    ),
    **dict.fromkeys((linear.PLAIN, linear.L1), "prepared data whose informative inputs are known"),
    **dict.fromkeys(SIZED, "tuned runs of a technique and the baseline at several sizes"),
    SHUFFLING: MEASURED_ORDERS.as_posix(),
}
"""By technique or study: what its rows are made of."""


def joined(runs: pd.DataFrame, folder: Path, prepared: Path) -> pd.DataFrame:
    """The final runs of the study in `folder` and the rows of this module that it allows.

    Raises UserError if its predictions or curves lack a run.
    """
    return pd.concat([runs, *_added(runs, folder, prepared)], ignore_index=True)


def _added(runs: pd.DataFrame, folder: Path, prepared: Path) -> Iterator[pd.DataFrame]:
    members = runs[(runs["setting"] == "tuned") & runs["technique"].isin(ensembles.PENALTIES)]
    if set(ensembles.PENALTIES) <= set(members["technique"]):
        yield ensemble(members, ensembles.read(folder, members))
    dropout = runs[runs["technique"] == "dropout"]
    if len(dropout) and "sampled_loss" in dropout:
        yield from with_masks_and_without(dropout)
    yield from _of_epochs(runs[runs["setting"] == "article"], folder)
    if results.SIZE in runs:
        yield at_ends(runs)
    if "informative_recall" in runs and prepared.is_file():
        data = datasets.load(prepared)
        shared = {name: runs[name].iloc[0] for name in ("study", "task")}
        yield linear.fitted(data).assign(**shared, setting="article", leaks=False, diverged=False)


def _of_epochs(runs: pd.DataFrame, folder: Path) -> Iterator[pd.DataFrame]:
    """What claims about early stopping compare; `runs`: of the article setting.

    With at most as many epochs as the article has, or as the `LONGER` runs, if there are any.
    """
    of = {str(name): own for name, own in runs.groupby("technique", observed=True)}

    def longest(technique: str) -> pd.DataFrame:
        return of.get(LONGER.format(technique), of.get(technique, runs.iloc[:0]))

    dropout, stopped = longest("dropout"), longest("dropout_early_stopping")
    if len(stopped) and dropout["replicate"].nunique() > 1:
        yield stopped[[*SHARED, "val_accuracy"]].assign(technique=STOPPED)
        yield fixed_epochs(dropout, results.read_curves(folder, dropout, ["val_accuracy"]))
    second = of.get("dropout_early_stopping_again")
    if second is None or not {*map(LONGER.format, AT_ONCE)} <= of.keys():
        return
    whole = {AS_LONG.format(name): of[LONGER.format(name)] for name in AT_ONCE}
    for technique, one in {SECOND_FIT: second, **whole}.items():
        curves = results.read_curves(folder, one, ["val_accuracy"])
        yield at_epochs(one, curves, second).assign(technique=technique)


def at_epochs(runs: pd.DataFrame, curves: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """A row for each pair: `val_accuracy` of `runs` after as many epochs as `others` were trained.

    `curves`: key, epoch and val_accuracy of `runs`. Pairs in which `runs` have fewer epochs are
    left out.
    """
    epochs = others[[*PAIR, "epochs_run"]]
    paired_up = runs[[*SHARED, "key"]].merge(epochs, on=list(PAIR))
    heights = curves.astype({"key": str}).rename(columns={"epoch": "epochs_run"})
    return paired_up.merge(heights, on=["key", "epochs_run"]).drop(columns="key")


def ensemble(members: pd.DataFrame, predictions: ensembles.Predictions) -> pd.DataFrame:
    """A row for each pair that has all three members: `test_accuracy` of their mean prediction."""
    rows = [
        group.iloc[0][[*SHARED]].to_dict()
        | {"technique": ENSEMBLE, "test_accuracy": predictions.score(list(group["key"]))[0]}
        for _, group in members.groupby(list(PAIR))
        if len(group) == len(ensembles.PENALTIES)
    ]
    return pd.DataFrame(rows, columns=[*SHARED, "technique", "test_accuracy"])


def with_masks_and_without(runs: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Two rows for each run: `test_accuracy` and `test_loss` with masks, and without them.

    `runs`: of dropout, with the columns of `measures.sampled_scores`. Both rows are of the same
    examples, which may be a sample of the test examples.
    """
    columns = {
        SAMPLED: ("sampled_accuracy", "sampled_loss"),
        UNSAMPLED: ("noise_0_accuracy", "unsampled_loss"),
    }
    for technique, (accuracy, loss) in columns.items():
        yield runs[[*SHARED]].assign(
            technique=technique, test_accuracy=runs[accuracy], test_loss=runs[loss]
        )


def fixed_epochs(runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row for each run: `val_accuracy` at the epoch that is best for the other replicates.

    Args:
        runs: of one technique and setting, with at least two replicates.
        curves: key, epoch and val_accuracy of these runs, which all have the same epochs.

    A number of epochs that is chosen on the run itself would look better than it is.
    """
    by_run = curves.astype({"key": str}).pivot(index="key", columns="epoch", values="val_accuracy")
    heights = by_run.loc[runs["key"]].to_numpy(np.float64)  # (runs, epochs)
    epochs = []
    for replicate in runs["replicate"]:
        others = heights[(runs["replicate"] != replicate).to_numpy()]
        epochs.append(int(others.mean(axis=0).argmax()))
    return runs[[*SHARED]].assign(
        technique=FIXED_EPOCHS,
        val_accuracy=heights[np.arange(len(runs)), epochs],
        epochs_run=by_run.columns.to_numpy()[epochs],
    )


def at_ends(runs: pd.DataFrame) -> pd.DataFrame:
    """`test_accuracy` of each technique minus the baseline's, at the smallest and largest size.

    `runs`: of a study that varies a size. A row for each pair; the setting is `tuned`.
    """
    pieces = []
    for form, size in ((SMALLEST, runs[results.SIZE].min()), (LARGEST, runs[results.SIZE].max())):
        at_size = runs[runs[results.SIZE] == size].sort_values(list(PAIR))
        baseline = at_size[at_size["technique"] == BASELINE]
        for name, own in at_size[at_size["technique"] != BASELINE].groupby("technique"):
            gains = paired.pairs(own, baseline, "test_accuracy").values
            technique = form.format(name)
            pieces.append(own[[*SHARED]].assign(technique=technique, test_accuracy=gains))
    return pd.DataFrame(pd.concat(pieces, ignore_index=True).assign(setting="tuned"))


def orders(path: Path = MEASURED_ORDERS) -> pd.DataFrame | None:
    """The runs of benchmarks/shuffling.csv as final runs of a study; None without the file.

    Run i of each kind makes a pair: runs of the same number start from the same weights.
    Raises UserError unless it has the columns kind, run and test_accuracy, and known kinds.
    """
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    if not {"kind", "run", "test_accuracy"} <= {*table}:
        raise UserError(
            f"{path} must have the columns kind, run, test_accuracy, but has {[*table]}"
        )
    if unknown := sorted({*table["kind"]} - {*ORDERS}):
        raise UserError(f"{path}: kind must be one of {', '.join(ORDERS)}, but is {unknown[0]!r}")
    return pd.DataFrame(
        {
            "study": SHUFFLING,
            "task": "classification",
            "technique": table["kind"],
            "setting": "article",
            "leaks": False,
            "search": 0,
            "replicate": table["run"],
            "seed": table["run"],
            "overlap": 0.0,
            "diverged": False,
            "test_accuracy": table["test_accuracy"],
        }
    )
