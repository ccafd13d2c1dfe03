"""Logistic regression with an L1 penalty and without, on data whose informative inputs are known.

The articles speak of linear models when they say that L1 selects features. Here that is measured,
on every draw of a study's data: fitted on its training examples, strength chosen by accuracy on its
validation examples, evaluated on its test examples. Tibshirani 1996; scikit-learn's liblinear and
Newton steps, both deterministic.
"""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets import PARTS, Dataset

PLAIN, L1 = "linear", "linear_l1"  # without penalty, with
STRENGTHS = tuple(float(c) for c in np.logspace(-2.5, 0, 11))  # inverse strengths, scikit-learn's C


def fitted(data: Dataset) -> pd.DataFrame:
    """Two rows per draw, which is replicate and seed, in columns of runs.csv.

    `test_accuracy`; `noise_inputs_dropped`: the share of the inputs that are noise whose weight is
    exactly 0. Raises ValueError if the informative inputs are unknown.
    """
    if data.informative is None:
        raise ValueError(f"the informative inputs of {data.name} must be known")
    rows = []
    for draw in range(data.draws("article")):
        parts = {part: data.split("article", part, draw) for part in PARTS}
        for technique, model in ((PLAIN, _plain(*parts["train"])), (L1, _chosen(parts))):
            noise = np.delete(model.coef_[0], data.informative)
            rows.append(
                {
                    "technique": technique,
                    "search": 0,
                    "replicate": draw,
                    "seed": draw,
                    "overlap": 0.0,
                    "test_accuracy": _accuracy(model, *parts["test"]),
                    "noise_inputs_dropped": float(np.mean(noise == 0)),
                }
            )
    return pd.DataFrame(rows)


def _chosen(parts: dict[Any, tuple[np.ndarray, np.ndarray]]) -> Any:
    """The L1 model of the strength with the highest validation accuracy; of equals the sparsest."""
    models = [_penalised(*parts["train"], strength) for strength in STRENGTHS]
    scores = [_accuracy(model, *parts["val"]) for model in models]
    return models[int(np.argmax(scores))]


def _accuracy(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    # Not `model.score`, whose checks of its arguments take longer than a fit.
    return float(np.mean((x @ model.coef_[0] + model.intercept_[0] > 0) == y))


def _penalised(x: np.ndarray, y: np.ndarray, strength: float) -> Any:
    # Here: reading claims needs no scikit-learn.
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(
        C=strength, l1_ratio=1.0, solver="liblinear", random_state=0, max_iter=1000
    ).fit(x, y)


def _plain(x: np.ndarray, y: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=np.inf, solver="newton-cholesky").fit(x, y)
