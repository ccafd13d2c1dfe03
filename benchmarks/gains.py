"""The gain of a technique against rows, once more by plain Keras.

At the smallest and the largest size of the studies that vary rows, on the same draws, with the
values that their searches chose: models of `keras.layers`, unseeded weights, `fit` as its
documentation has it. Only data, values and the engine's gains come from the studies' results.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import pandas as pd
from scipy import stats

from pipeline import datasets, results
from pipeline.config import loading
from pipeline.config.sections import Study

STUDIES = ("features_rows", "digits_rows", "mnist_rows")
TECHNIQUES = ("l2", "dropout")
CONFIDENCE = 0.95


def gains() -> None:
    """Gain of L2 and dropout at the smallest and largest number of rows, by unseeded `fit`."""
    settings = loading.load()
    for name in STUDIES:
        if not (results.RESULTS / name / "runs.csv").is_file():
            print(f"  {name}: no results; run `dvc repro report@{name}` first")
            continue
        for line in compared(name, settings.study(name)):
            print(f"  {line}", flush=True)


def compared(name: str, study: Study) -> Iterator[str]:
    """A line for each size and technique: the gain by engine and by `fit`, and their difference."""
    data = datasets.load(results.prepared(name))
    runs = results.read_runs(results.RESULTS / name)
    assert study.final.vary is not None
    for size in (study.final.vary.sizes[0], study.final.vary.sizes[-1]):
        own = runs[runs[results.SIZE] == size]
        by_engine = own.pivot(index="replicate", columns="technique", values="test_accuracy")
        by_fit = pd.DataFrame(
            {
                technique: {
                    row["replicate"]: accuracy(row, study, data)
                    for row in own[own["technique"] == technique].to_dict("records")
                }
                for technique in ("none", *TECHNIQUES)
            }
        )
        for technique in TECHNIQUES:
            engine, fit = (
                100 * (table[technique] - table["none"]) for table in (by_engine, by_fit)
            )
            yield (
                f"{name}, {size} rows, {technique}: engine {_mean(engine)}, `fit` {_mean(fit)}, "
                f"`fit` minus engine {_mean(fit - engine)} points"
            )


def accuracy(row: Mapping[Any, Any], study: Study, data: datasets.Dataset) -> float:
    """Test accuracy of a final run's values, trained once more by `fit`; a share."""
    draw, size = int(row["replicate"]), int(row[results.SIZE])
    x, y = data.split("leak_free", "train", draw)
    test = data.split("leak_free", "test", draw)
    model = network(row, study, data)
    model.fit(
        x[:size],
        y[:size],
        batch_size=study.training.batch_size,
        epochs=study.training.epochs,
        verbose=0,
    )
    return float(model.evaluate(*test, batch_size=len(test[1]), verbose=0)[1])


def network(row: Mapping[Any, Any], study: Study, data: datasets.Dataset) -> keras.Sequential:
    """The study's network with a final run's penalty or dropout on hidden layers, compiled."""
    assert study.model.architecture == "mlp"
    values, technique = results.params_of(row), row["technique"]
    layers: list[keras.layers.Layer] = [keras.Input(data.input_shape), keras.layers.Flatten()]
    for units in study.model.hidden:
        penalty = keras.regularizers.L2(values["strength"]) if technique == "l2" else None
        layers.append(keras.layers.Dense(units, study.model.activation, kernel_regularizer=penalty))
        if technique == "dropout":
            layers.append(keras.layers.Dropout(values["rate"]))
    binary = data.n_classes == 2
    output = (1, "sigmoid") if binary else (data.n_classes, "softmax")
    model = keras.Sequential([*layers, keras.layers.Dense(*output)])
    model.compile(
        keras.optimizers.Adam(values["learning_rate"]),
        "binary_crossentropy" if binary else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _mean(values: "pd.Series[float]") -> str:
    """The mean over draws with its t interval."""
    mean, error = float(values.mean()), float(stats.sem(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"
