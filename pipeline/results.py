"""The result files of a data set: where they are, and their rows."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets import Dataset
from pipeline.files import replace, replace_text
from pipeline.training.runs import Result, Run

Row = dict[str, Any]
Arrays = Mapping[str, np.ndarray]

RESULTS = Path("results")
MODELS = Path("models")
PREPARED = Path("data/prepared")


def prepared(dataset: str) -> Path:
    """The prepared data."""
    return PREPARED / f"{dataset}.npz"


def final_row(run: Run, result: Result, leaks: bool) -> Row:
    """A row of runs.csv, without the MLflow run that is not known yet."""
    return {
        "key": run.key,
        "dataset": run.dataset,
        "architecture": run.model.architecture,
        "technique": run.technique,
        **run.made_of,
        "setting": run.setting,
        "protocol": run.protocol,
        "leaks": leaks,
        "seed": run.seed,
        **run.hyperparameters,
        **result.measures,
        "epochs": run.training.epochs,
        "model": model_path(run).as_posix(),
    }


def model_path(run: Run) -> Path:
    """Where a final run's model is, such as models/circles/l2/tuned-3.keras."""
    return MODELS / run.dataset / run.technique / f"{run.setting}-{run.seed}.keras"


_LAST = ("epochs", "epochs_run", "seconds", "mlflow_run_id", "model")


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes rows as CSV, whole or not at all; what a row does not have stays empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns = [c for c in columns if c not in _LAST] + [c for c in _LAST if c in columns]
    frame = pd.DataFrame(rows, columns=columns)
    # A patience of 3 in a column with gaps would be read back as 3.0.
    frame = frame.convert_dtypes()
    replace(path, lambda scratch: frame.to_csv(scratch, index=False))


def curve_table(result: Result) -> pd.DataFrame:
    """A final run's curves: a row an epoch, from 1, and a column a curve."""
    assert result.curves is not None, "only final runs have curves"
    epochs = np.arange(1, 1 + len(result.curves["val_loss"]), dtype=np.int32)
    return pd.DataFrame({"epoch": epochs, **result.curves})


def write_curves(curves: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Writes final runs' curves, by key, as Parquet: key, epoch and a column a curve.

    Curves seldom repeat a value: by their bytes, not by a dictionary of values, circles' 1.2
    million rows are written in half the time, to two thirds of the size.
    """
    frame = pd.concat(curves.values(), ignore_index=True)
    places = np.repeat(np.arange(len(curves)), [len(curve) for curve in curves.values()])
    keys = pd.Categorical.from_codes(places, pd.Index([*curves]))
    frame.insert(0, "key", pd.Series(keys))
    write = partial(
        frame.to_parquet,
        index=False,
        compression="zstd",
        use_dictionary=["key"],
        use_byte_stream_split=[*frame.columns[2:]],
    )
    replace(path, write)


def write_inspections(inspected: Iterable[tuple[Run, Arrays]], path: Path) -> None:
    """Writes what the inspected runs look like inside: arrays named setting/technique/name."""
    arrays: dict[str, Any] = {
        f"{run.setting}/{run.technique}/{name}": array
        for run, found in inspected
        for name, array in found.items()
    }
    replace(path, lambda scratch: np.savez_compressed(scratch, **arrays))


def write_predictions(runs: Iterable[tuple[Run, np.ndarray]], data: Dataset, path: Path) -> None:
    """Writes classifiers' probabilities of the test rows, and the labels of those, as .npz.

    `<sample>/<key>` has a run's probabilities, (n, units), and `<sample>/labels` the labels, (n,);
    runs of one sample have the same training, validation and test rows. The probabilities stay
    float32: float16 takes 0.9999 for 1, and a row's loss would be another. Compressing circles'
    takes fifteen times as long as writing them, for a quarter of the size.
    """
    arrays: dict[str, Any] = {}
    for run, probabilities in runs:
        sample = data.sample(run.protocol, run.draw)
        arrays[f"{sample}/labels"] = data.y[data.rows(run.protocol, "test", run.draw)]
        arrays[f"{sample}/{run.key}"] = probabilities
    replace(path, lambda scratch: np.savez(scratch, **arrays))


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Writes JSON that reads well, whole or not at all."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    replace_text(path, text)


def place_models(models: Iterable[tuple[Path, Path]], folder: Path) -> None:
    """Fills the folder with (source, target) files, as links where the disk allows it."""
    shutil.rmtree(folder, ignore_errors=True)
    for source, target in models:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
