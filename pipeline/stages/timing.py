"""Measure how long final models take to predict, where a claim compares them."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import datasets, results
from pipeline.analysis import claims, inference
from pipeline.config import loading
from pipeline.execution import processes
from pipeline.files import replace_csv

COLUMNS = ["key", "technique", "setting", "seed", inference.COLUMN]


def main(argv: list[str]) -> None:
    """Writes inference.csv: the models of a setting and seed are timed in turn, on one thread."""
    parser = argparse.ArgumentParser(prog="python -m pipeline timing", description=__doc__)
    parser.add_argument("study", type=loading.named, help=loading.STUDY_HELP)
    study = parser.parse_args(argv).study
    folder = results.RESULTS / study
    runs = results.read_runs(folder)
    compared = runs[
        runs["technique"].isin(claims.compared_by(inference.COLUMN, study)) & runs["model"].notna()
    ]
    table = pd.DataFrame(columns=COLUMNS) if compared.empty else _table(compared, study)
    replace_csv(folder / results.TIMES, table, digits=6)
    results.seal(folder, "timing", [results.TIMES])
    print(
        f"{study}: {len(table)} models timed, {inference.ROUNDS} batches of "
        f"{inference.ROWS} examples each"
    )


def _table(runs: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows of inference.csv of these runs."""
    data = datasets.load(results.prepared(study))
    with processes.libraries_logged():
        from pipeline.engine import backend  # here: nothing else of the stage needs TensorFlow

        backend.set_up(deterministic=True)
        parts = [_times(group, data) for _, group in runs.groupby(["setting", "seed"], sort=False)]
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _times(runs: pd.DataFrame, data: datasets.Dataset) -> pd.DataFrame:
    """The runs of one setting and seed with their models' times, on the same examples."""
    import keras

    first = runs.iloc[0]
    for path in runs["model"]:
        results.check_model(Path(path))
    x, _ = data.split(first["protocol"], "test", int(first["replicate"]))
    examples = x[: inference.ROWS]
    models = {run["key"]: keras.models.load_model(run["model"]) for _, run in runs.iterrows()}
    calls = {
        key: lambda model=model: model.predict_on_batch(examples) for key, model in models.items()
    }
    seconds = inference.interleaved(calls, np.random.default_rng(int(first["seed"])))
    keras.utils.clear_session(free_memory=False)
    return runs.assign(**{inference.COLUMN: runs["key"].map(seconds)})
