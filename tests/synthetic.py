"""Result files of a small study whose truth is known, for the tests of what is made from them."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets import about
from pipeline.datasets.about import About
from pipeline.datasets.task import KEPT, kept_name
from pipeline.results import YARDSTICK_COLUMNS

EPOCHS = 12
SIGMAS = (0.0, 0.1, 0.2, 0.4)
TRIALS = 8
SCORES = ("test_accuracy", "test_loss")
STRENGTH, LEARNING_RATE = 0.00031, 0.002  # chosen
SEARCH = {"low": 1e-5, "high": 1e-1, "log": True, "integer": False}


def make_runs(
    effects: Mapping[str, float],
    *,
    seeds: int = 10,
    setting: str = "tuned",
    dataset: str = "circles",
    leaks: bool = False,
    noise: float = 0.004,
    searches: int = 1,
    per_replicate: int = 1,
    overlap: float = 0.0,
    losses: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Final runs in which technique t adds `effects[t]` to the test accuracy of a replicate.

    Args:
        seeds: of each technique and search. Each is a replicate of its own, or, nested, one of
            `per_replicate` seeds of a replicate that has its own search.
        searches: crossed with the seeds: each search's setting is trained on all of them.
        overlap: n_test / n_train of replicates that are splits of one file.
        losses: what technique t adds to a test loss of 0.5, with noise; without it all are 0.5.
    """
    rows = []
    for technique, effect in effects.items():
        rng = np.random.default_rng([*technique.encode()])
        for search, seed in itertools.product(range(searches), range(seeds)):
            replicate = seed // per_replicate
            base = 0.8 + 0.02 * np.random.default_rng(replicate).standard_normal()
            test = base + effect + noise * rng.standard_normal()
            loss = 0.5 if losses is None else 0.5 + losses[technique] + noise * rng.normal()
            name = f"{technique}-{search}-{seed}" if search else f"{technique}-{seed}"
            rows.append(
                {
                    "key": f"{setting}-{name}",
                    "study": dataset,
                    "task": "classification",
                    "technique": technique,
                    "setting": setting,
                    "leaks": leaks,
                    "search": replicate if per_replicate > 1 else search,
                    "replicate": replicate,
                    "seed": seed,
                    "overlap": overlap,
                    "same_test": False,
                    "reference": technique == "train_and_validation",
                    "train_accuracy": 0.97,
                    "val_accuracy": test - 0.01,
                    "test_accuracy": test,
                    "val_loss": 0.6,
                    "test_loss": loss,
                    "gap": 0.97 - test,
                    "epochs_run": EPOCHS // 2 if technique == "early_stopping" else EPOCHS,
                    "last_fit_epochs": EPOCHS // 2 if technique == "early_stopping" else EPOCHS,
                    "zero_weights": 0.25,
                    "near_zero_weights": 0.3,
                    "negative_weights": 0.4,
                    "kernel_norm": 12.0,
                    "bias_norm": 0.5,
                    "kernel_gzip_bytes": 7_000,
                    "pruned_gzip_bytes": 6_000,
                    **{kept_name(share): test * share**0.1 for share in KEPT},
                    "parameters": 2001,
                    "nonzero_parameters": 1501,
                    "calibration_error": 0.05,
                    "noise_accuracy": test - 0.1,
                    "noise_drop": 0.1,
                    "fall": 0.03,
                    **{f"noise_{sigma:g}_accuracy": test - sigma / 2 for sigma in SIGMAS},
                    "zero_activations": 0.5,
                    "mean_activation": 0.1,
                    "diverged": False,
                    "collapsed": False,
                    "seconds": 2.0,
                    "model": f"models/{dataset}/{technique}/{setting}-0-{seed}.keras",
                    "mlflow_run_id": f"id-{setting}-{name}",
                }
            )
    return pd.DataFrame(rows)


def make_curves(runs: pd.DataFrame) -> pd.DataFrame:
    """A curve for each run that ends at the values of the run."""
    parts = []
    for run in runs.to_dict("records"):
        epoch = np.arange(1, run["epochs_run"] + 1)
        part = 1 - 0.5 * (1 - epoch / len(epoch))
        measures = ("train_accuracy", "val_accuracy", "val_loss")
        values = {name: (run[name] * part).astype(np.float32) for name in measures}
        parts.append(pd.DataFrame({"key": run["key"], "epoch": epoch.astype(np.int32), **values}))
    return pd.concat(parts, ignore_index=True).astype({"key": "category"})


def make_predictions(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Of each run, probabilities of 200 test rows that are about as accurate as the run."""
    labels = np.arange(200, dtype=np.int32) % 2
    arrays = {f"{setting}.0/labels": labels for setting in runs["setting"].unique()}
    for run in runs.to_dict("records"):
        rng = np.random.default_rng([*run["key"].encode()])
        right = rng.random(len(labels)) < run["test_accuracy"]
        sure = rng.uniform(0.5, 1, len(labels)).astype(np.float32)
        of_one = np.where(right == labels, sure, 1 - sure)
        arrays[f"{run['setting']}.0/{run['key']}"] = of_one[:, None]
    return arrays


def make_tuned(
    techniques: Sequence[str],
    at_edge: Sequence[str] = (),
    searches: int = 1,
    searched: bool = True,
) -> dict[str, Any]:
    """A tuned.json in which the techniques in `at_edge` have a strength at its range's edge.

    Search s chose `STRENGTH` times 10 to the power s; or else nothing is `searched`.
    """
    found = {
        technique: {
            "stops_early": technique == "early_stopping",
            "search": {"strength": SEARCH} if searched else {},
            "searches": [
                {
                    "values": {"strength": STRENGTH * 10**search, "learning_rate": LEARNING_RATE},
                    "val_accuracy": 0.8125,
                    "val_loss": 0.4,
                    "trial": 5,
                    "at_edge": ["strength"] if technique in at_edge else [],
                    "draws": 15,
                    "error": 0.011,
                    "df": 40,
                    "as_good_as_off": False,
                    "by_loss": {"values": {}, "trial": 3, "val_loss": 0.3},
                }
                for search in range(searches)
            ],
        }
        for technique in techniques
    }
    return {
        "study": "circles",
        "task": "classification",
        "trials": TRIALS,
        "epochs": EPOCHS,
        "race": [[8, 2], [2, 6]],
        "crossed": searches > 1,
        "techniques": found,
    }


def make_trials(techniques: Sequence[str], dataset: str = "circles") -> pd.DataFrame:
    """Trials of which number 5 is the best, at the values that `make_tuned` chooses."""
    rows = []
    for technique in techniques:
        rng = np.random.default_rng([*technique.encode(), 1])
        for trial in range(TRIALS):
            best = trial == 5
            rows.append(
                {
                    "key": f"{technique}-{trial}",
                    "study": dataset,
                    "task": "classification",
                    "technique": technique,
                    "search": 0,
                    "trial": trial,
                    "draws": 2,
                    "state": "complete",
                    "params.strength": STRENGTH if best else 10 ** rng.uniform(-5, -1),
                    "params.learning_rate": LEARNING_RATE,
                    "val_accuracy": 0.8125 if best else rng.uniform(0.7, 0.8),
                    "val_loss": 0.4,
                }
            )
    return pd.DataFrame(rows)


CHOICES = """technique,search,trials,rank_correlation,rank_low,rank_high,practitioner_lost,\
practitioner_lost_error
l2,0,8,0.71,0.33,0.89,0.0123,0.004
l1,0,8,0.25,-0.5,0.8,,
"""


def make_inspection(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Arrays of points in the plane and of images for each technique and setting."""
    rng = np.random.default_rng(0)
    arrays = {
        "weights": rng.standard_normal(300) * (np.arange(300) % 4 > 0),
        "active_1": np.linspace(0, 1, 9),
        "active_2": np.ones(3),
        "plane": np.tile(np.linspace(0, 1, 16), (16, 1)),
        "extent": np.array([-1.5, 1.5, -1.5, 1.5]),
        "train": np.array([[-1, 0, 0], [1, 0, 1]]),
        "test": np.array([[-0.5, 0, 0], [0.5, 0, 1]]),
        "filters": rng.standard_normal((12, 4, 4)),
        "images": rng.random((6, 4, 4)),
        "whitened": rng.standard_normal((6, 4, 4)),
    }
    return {
        f"{setting}/{technique}/{name}": array.astype(np.float16)
        for setting, technique in runs[["setting", "technique"]].drop_duplicates().to_numpy()
        for name, array in arrays.items()
    }


def make_yardsticks(
    runs: pd.DataFrame,
    effects: Mapping[str, float],
    draws: int = 10,
    noise: float = 0.004,
    rows: int = 30,
) -> pd.DataFrame:
    """Yardsticks that add `effects` to what the baseline's tuned runs have on average on a draw.

    `rows`: that they trained on, of 30.
    """
    baseline = runs[(runs["technique"] == "none") & (runs["setting"] == "tuned")]
    usual = baseline.groupby("replicate")[["test_accuracy", "overlap", "same_test"]].mean()
    lines = []
    for name, effect in effects.items():
        rng = np.random.default_rng([*name.encode(), 2])
        for draw in range(draws):
            accuracy = usual["test_accuracy"][draw] + effect + noise * rng.standard_normal()
            lines.append(
                {
                    "key": f"{name}-{draw}",
                    "task": "classification",
                    "yardstick": name,
                    "estimator": f"{name.title()}Estimator()",
                    "draw": draw,
                    "rows": rows,
                    "of_rows": 30,
                    "overlap": usual["overlap"][draw],
                    "same_test": bool(usual["same_test"][draw]),
                    "test_accuracy": accuracy,
                    "test_loss": 0.5,
                    "seconds": 0.25,
                }
            )
    return pd.DataFrame(lines, columns=[*YARDSTICK_COLUMNS, *SCORES, "seconds"])


def write_about(
    folder: Path,
    leaks: bool = False,
    outcomes: tuple[str, ...] = (),
    own: Mapping[str, Any] | None = None,
) -> None:
    """An about.json of points in the plane, of which 30 train and the first 3 trials are random.

    `own`: what it says of people's own data; None: they are not.
    """
    sizes = {"train": 30, "val": 70, "test": 200}
    about.write(
        About(
            study=folder.name,
            source="circles",
            title=folder.name.title(),
            description="Two circles.",
            leak="The article's test points validate." if leaks else "",
            task="classification",
            input_shape=(2,),
            sizes={"article": sizes, "leak_free": sizes},  # type: ignore[dict-item]
            draws={"article": 1, "leak_free": 64},
            random_trials=3,
            outcomes=outcomes,
            **({} if own is None else {"own": True, **own}),
        ),
        folder / about.FILE,
    )


def write_results(
    folder: Path,
    runs: pd.DataFrame,
    at_edge: Sequence[str] = (),
    outcomes: tuple[str, ...] = (),
    yardsticks: Mapping[str, float] | None = None,
    own: Mapping[str, Any] | None = None,
    searched: bool = True,
) -> Path:
    """Write the result files that tune and train write, but for optuna.db; return the folder.

    `yardsticks`: what simple models add to the baseline's accuracy; None: there are none. `own`: as
    for `write_about`. `searched`: whether a search chose values.
    """
    folder.mkdir(parents=True)
    write_about(folder, bool(runs["leaks"].any()), outcomes, own)
    runs.to_csv(folder / "runs.csv", index=False)
    make_curves(runs).to_parquet(folder / "curves.parquet", index=False)
    np.savez(folder / "inspections.npz", **make_inspection(runs))  # type: ignore[arg-type]
    simple = make_yardsticks(runs, yardsticks or {})
    simple.to_csv(folder / "yardsticks.csv", index=False)
    predictors = pd.concat([runs, simple.assign(setting="tuned")]) if len(simple) else runs
    predictions: dict[str, Any] = make_predictions(predictors)
    np.savez(folder / "predictions.npz", **predictions)
    techniques = list(runs["technique"].unique())
    make_trials(techniques, folder.name).to_csv(folder / "trials.csv", index=False)
    tuned = make_tuned(techniques, at_edge, searched=searched)
    (folder / "tuned.json").write_text(json.dumps(tuned), encoding="utf-8")
    (folder / "choices.csv").write_text(CHOICES, encoding="utf-8")
    return folder
