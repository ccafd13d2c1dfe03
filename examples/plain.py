"""The numbers of the published tables once more, without this project's engine and measures.

    python -m examples.plain sonar

Reads what `examples.published` wrote to data/own; the rest is scikit-learn and Keras's `fit`, as in
the tutorial and in the authors' code, on splits of their own. Each takes minutes, and prints a line
as soon as it is known.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ShuffleSplit, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline import datasets

OWN = Path("data/own")
PASSES = 1_000  # through a network with dropout switched on
STEPS = 10  # of an optimizer in one call, which changes nothing but the time


def sonar() -> Iterator[str]:
    """Ten folds of one shuffle, one seed each, as in the tutorial."""
    x, y = _table("sonar", "class")
    y = (y == "R").astype(int)
    for initial in ("glorot_uniform", "random_normal"):  # today's, and that of 2017
        for name, visible, hidden, rate, momentum, bound in (
            ("baseline", 0.0, 0.0, 0.01, 0.8, None),
            ("visible", 0.2, 0.0, 0.1, 0.9, 3),
            ("hidden", 0.0, 0.2, 0.1, 0.9, 3),
        ):
            scores = []
            folds = StratifiedKFold(n_splits=10, shuffle=True, random_state=0)
            for fold, (train, test) in enumerate(folds.split(x, y)):
                keras.utils.set_random_seed(fold)
                stack: list[Any] = [layers.Dropout(visible)]
                for units in (60, 30):
                    limit = keras.constraints.MaxNorm(bound) if bound else None
                    stack += [
                        layers.Dense(units, "relu", True, initial, kernel_constraint=limit),
                        layers.Dropout(hidden),
                    ]
                model = keras.Sequential([*stack, layers.Dense(1, "sigmoid", True, initial)])
                scaler = StandardScaler().fit(x[train])
                optimizer = keras.optimizers.SGD(rate, momentum)
                inputs = scaler.transform(x[train])
                _fit(model, optimizer, "binary_crossentropy", inputs, y[train], 16, 300)
                guesses = np.asarray(model(scaler.transform(x[test])))[:, 0] > 0.5
                scores.append(100 * np.mean(guesses == y[test]))
            yield f"sonar {name}, {initial}: {_told(scores)} %"


def sonar_sklearn() -> Iterator[str]:
    """The tutorial's baseline by scikit-learn: ten means of ten folds.

    On shuffles of its own, then on the draws of the study, which `dvc repro prepare@sonar` writes.
    """
    network = MLPClassifier(
        (60, 30),
        solver="sgd",
        alpha=0,
        batch_size=16,
        learning_rate_init=0.01,
        momentum=0.8,
        nesterovs_momentum=False,
        max_iter=300,
        n_iter_no_change=300,
    )
    x, y = _table("sonar", "class")
    scores: list[float] = []
    for shuffle in range(10):
        network.set_params(random_state=shuffle)
        folds = StratifiedKFold(n_splits=10, shuffle=True, random_state=shuffle)
        scaled = make_pipeline(StandardScaler(), network)
        scores.append(100 * cross_val_score(scaled, x, y, cv=folds).mean())
    yield f"sonar by scikit-learn, its shuffles: {_told(scores)} %, {np.round(scores, 1)}"
    data, scores = datasets.load("data/prepared/sonar.npz"), []
    for draw in range(100):
        network.set_params(random_state=draw).fit(*data.split("article", "train", draw))
        scores.append(100 * network.score(*data.split("article", "test", draw)))
    means = np.reshape(scores, (10, 10)).mean(axis=1)
    yield f"sonar by scikit-learn, the study's: {_told(means)} %, {np.round(means, 1)}"


def boston() -> Iterator[str]:
    """Twenty splits of 90 and 10 %, one seed each: RMSE as usual, and of the mean of passes."""
    for epochs, batch, dropped in ((400, 32, ["B"]), (400, 32, []), (4_000, 128, ["B"])):
        x, y = _table("boston", "MEDV", dropped)
        usual: list[float] = []
        sampled: list[float] = []
        splits = ShuffleSplit(20, test_size=51, random_state=1).split(x)
        for split, (train, test) in enumerate(splits):
            keras.utils.set_random_seed(split)
            scaler, mean, scale = StandardScaler().fit(x[train]), y[train].mean(), y[train].std()
            penalty = keras.regularizers.L2(6.5e-7)
            model = keras.Sequential(
                [
                    layers.Dropout(0.05),
                    layers.Dense(50, "relu", kernel_regularizer=penalty),
                    layers.Dropout(0.05),
                    layers.Dense(1, kernel_regularizer=penalty),
                ]
            )
            inputs, targets = scaler.transform(x[train]), (y[train] - mean) / scale
            _fit(model, "adam", "mean_squared_error", inputs, targets, batch, epochs)
            unseen = scaler.transform(x[test])
            passes = np.asarray(model(np.tile(unseen, (PASSES, 1)), training=True))
            outputs = np.asarray(model(unseen)).ravel(), passes.reshape(PASSES, -1).mean(axis=0)
            for errors, output in zip((usual, sampled), outputs, strict=True):
                errors.append(np.sqrt(np.mean((output * scale + mean - y[test]) ** 2)))
        yield (
            f"boston, {epochs} epochs, {x.shape[1]} columns: {_told(usual)};"
            f" mean of {PASSES} passes: {_told(sampled)}"
        )


def mnist1d() -> Iterator[str]:
    """Logistic regression, and the article's network with and without its shortcut, three seeds."""
    with np.load(OWN / "mnist1d/data.npz") as data:
        x, y, x_test, y_test = (data[name] for name in ("x", "y", "x_test", "y_test"))
    linear = LogisticRegression(max_iter=10_000).fit(x, y)
    yield f"mnist1d, logistic: {100 * linear.score(x_test, y_test):.1f} %"
    for shortcut in (False, True):
        scores = []
        for seed in range(3):
            keras.utils.set_random_seed(seed)
            inputs = keras.Input((40,))
            first = layers.Dense(100, "relu")(inputs)
            second = layers.Dense(100, "relu")(first)
            last = layers.Add()([first, second]) if shortcut else second
            model = keras.Model(inputs, layers.Dense(10, "softmax")(last))
            optimizer = keras.optimizers.Adam(0.01)
            _fit(model, optimizer, "sparse_categorical_crossentropy", x, y, 100, 150)
            guesses = np.asarray(model(x_test)).argmax(axis=1)
            scores.append(100 * np.mean(guesses == y_test))
        yield f"mnist1d, {'with' if shortcut else 'without'} shortcut: {_told(scores)} %"


def _table(name: str, target: str, dropped: Iterable[str] = ()) -> tuple[Any, Any]:
    """Inputs, (n, columns), and targets, (n,)."""
    frame = pd.read_csv(OWN / name / "data.csv")
    return frame.drop(columns=[target, *dropped]).to_numpy(), frame[target].to_numpy()


def _fit(model: Any, optimizer: Any, loss: str, x: Any, y: Any, batch: int, epochs: int) -> None:
    """Keras's `fit` with all epochs as one, which spares what it does between them."""
    model.compile(optimizer, loss, steps_per_execution=STEPS)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).batch(batch).repeat()
    model.fit(data, steps_per_epoch=epochs * -(-len(x) // batch), epochs=1, verbose=0)


def _told(scores: Iterable[float]) -> str:
    """Mean and standard deviation."""
    values = np.array([*scores])
    return f"{values.mean():.2f} +- {values.std():.2f} ({values.size})"


TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "sonar": sonar,
    "sonar_sklearn": sonar_sklearn,
    "boston": boston,
    "mnist1d": mnist1d,
}


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TABLES:
        sys.exit(f"usage: python -m examples.plain {'|'.join(TABLES)}")
    for line in TABLES[sys.argv[1]]():
        print(line, flush=True)
