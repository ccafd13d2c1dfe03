"""Time the predictions of the final models whose times a claim compares."""

import argparse

import numpy as np
import pandas as pd

from pipeline import datasets, results
from pipeline.analysis import claims, inference, summary
from pipeline.config import params
from pipeline.execution import processes
from pipeline.files import replace_csv

DATASETS = [name for name in params.DATASET_NAMES if claims.compared_by(inference.COLUMN, name)]


def main(argv: list[str]) -> None:
    """Writes inference.csv: models of one setting and seed are timed in turn, on one thread."""
    parser = argparse.ArgumentParser(prog="python -m pipeline timing", description=__doc__)
    parser.add_argument("dataset", choices=DATASETS)
    dataset = parser.parse_args(argv).dataset
    folder = results.RESULTS / dataset
    runs = summary.read_runs(folder / "runs.csv")
    data = datasets.load(results.prepared(dataset))
    timed = runs[runs["technique"].isin(claims.compared_by(inference.COLUMN, dataset))]
    with processes.libraries_logged():
        from pipeline.engine import backend  # here, so that --help needs no TensorFlow

        backend.set_up(deterministic=True)
        parts = [_times(group, data) for _, group in timed.groupby(["setting", "seed"], sort=False)]
    table = pd.concat(parts, ignore_index=True)
    columns = ["key", "technique", "setting", "seed", inference.COLUMN]
    replace_csv(folder / inference.FILE, table[columns], digits=6)
    print(
        f"{dataset}: {len(table)} models timed, {inference.ROUNDS} batches of "
        f"{inference.ROWS} rows each"
    )


def _times(runs: pd.DataFrame, data: datasets.Dataset) -> pd.DataFrame:
    """The runs of one setting and seed with the times of their models, on the same rows."""
    import keras

    first = runs.iloc[0]
    x, _ = data.split(first["protocol"], "test", int(first["seed"]))
    rows = x[: inference.ROWS]
    models = {run["key"]: keras.models.load_model(run["model"]) for _, run in runs.iterrows()}
    calls = {key: lambda model=model: model.predict_on_batch(rows) for key, model in models.items()}
    seconds = inference.interleaved(calls, np.random.default_rng(int(first["seed"])))
    keras.utils.clear_session(free_memory=False)
    return runs.assign(**{inference.COLUMN: runs["key"].map(seconds)})
