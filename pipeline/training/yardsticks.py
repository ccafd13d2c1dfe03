"""What simple models reach on people's own data: is a network worth it at all?

Three yardsticks, estimators of scikit-learn with its default values, fitted on the training rows of
a draw and scored on its test rows, as the networks are:

- *constant*  the share of each class, so that the most frequent one is predicted; the mean
- *linear*    logistic regression, penalty l2 with C = 1; ridge regression with alpha = 1
- *trees*     histogram gradient boosting: 100 trees of up to 31 leaves for each class, a learning
              rate of 0.1, at least 20 rows in a leaf; beyond 10,000 rows with early stopping

Each uses one core, so that the number of cores decides nothing. Their time is bounded by an
estimate that depends on shapes alone: first there are fewer draws, the same for all yardsticks,
then fewer training rows.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pipeline.datasets import Dataset, Floats, Ints, Protocol, about
from pipeline.datasets.task import Task
from pipeline.results import SAME_TEST, Row

FEWEST = 3  # draws, unless there are fewer
SECONDS = 60.0  # of one core, by the estimate: for all draws of a yardstick
LEAST_ROWS = 100  # fewer are never trained on, whatever the time
ITERATIONS = 10_000  # of logistic regression, at most; it converges in some tens


@dataclass(frozen=True, eq=False)
class Yardstick:
    """One simple model on one draw."""

    name: str  # constant, linear or trees
    estimator: str  # of scikit-learn, with all values that are not its defaults
    draw: int
    rows: int  # trained on
    of_rows: int  # that the draw has for training
    scores: Mapping[str, float]  # by column
    outputs: Floats  # for the test rows, in the layout of a network's; see `outputs_of`
    seconds: float

    protocol: Protocol = "leak_free"

    @property
    def key(self) -> str:
        """Its name in result files, such as trees-3."""
        return f"{self.name}-{self.draw}"

    def row(self, data: Dataset, task: Task) -> Row:
        """Its row of yardsticks.csv."""
        return {
            "key": self.key,
            "task": task.name,
            "yardstick": self.name,
            "estimator": self.estimator,
            "draw": self.draw,
            "rows": self.rows,
            "of_rows": self.of_rows,
            "overlap": data.overlap(self.protocol),
            SAME_TEST: data.same_test(self.protocol),
            **self.scores,
            "seconds": self.seconds,
        }


def wanted(data: Dataset) -> bool:
    """Whether yardsticks are measured on these data: on people's own."""
    return data.source in about.OWN


def measure(data: Dataset, task: Task, seed: int, replicates: int) -> Iterator[Yardstick]:
    """All yardsticks on the draws of the networks' replicates, or as many as their time allows.

    All have the same draws, the first ones, so that they are compared on the same test rows.

    Args:
        seed: of the study; the `random_state` of estimators that have one.
        replicates: of the networks' final runs.
    """
    train = data.rows("leak_free", "train", 0).size
    draws = min(data.draws("leak_free"), replicates)
    columns = int(np.prod(data.input_shape))
    outputs = 1 if data.n_classes == 2 else data.n_classes
    kinds = CLASSIFIERS if task.labels else REGRESSORS
    amounts = {
        name: bounded(partial(kind.cost, columns, outputs), train, draws)
        for name, kind in kinds.items()
    }
    fewest = min(amount.draws for amount in amounts.values())
    for name, kind in kinds.items():
        for draw in range(fewest):
            yield _measured(name, kind.make(seed), data, task, seed, draw, amounts[name].rows)


# What is fitted, and how long it takes


class Kind(NamedTuple):
    """How a yardstick is made, and the estimated seconds of one fit."""

    make: Callable[[int], Any]  # random_state → estimator
    cost: Callable[[int, int, int], float]  # columns, outputs, rows → seconds


class Amount(NamedTuple):
    """How much a yardstick is trained."""

    draws: int
    rows: int


def bounded(cost: Callable[[int], float], rows: int, draws: int) -> Amount:
    """As many of the draws, then as many of the rows, as the time allows.

    `cost`: training rows → estimated seconds of a fit.

    >>> bounded(lambda rows: 0.001 * rows, rows=1000, draws=30)
    Amount(draws=30, rows=1000)
    >>> bounded(lambda rows: 0.1 * rows, rows=1000, draws=30)
    Amount(draws=3, rows=200)
    """
    fits = min(draws, max(FEWEST, int(SECONDS / max(cost(rows), SECONDS / draws))))
    few, many = min(rows, LEAST_ROWS), rows
    while few < many:  # the largest number that the time allows; costs rise with rows
        middle = (few + many + 1) // 2
        few, many = (middle, many) if fits * cost(middle) <= SECONDS else (few, middle - 1)
    return Amount(fits, few)


def _no_time(columns: int, outputs: int, rows: int) -> float:
    return 0.0


def _time_of_logistic(columns: int, outputs: int, rows: int) -> float:
    """Some 100 iterations."""
    return 1e-7 * rows * columns * outputs


def _time_of_ridge(columns: int, outputs: int, rows: int) -> float:
    return 2e-10 * rows * columns * min(rows, columns)


def _time_of_trees(columns: int, outputs: int, rows: int) -> float:
    """Of 100 trees for each output: histograms of up to 31 leaves, and passes over the rows.

    Measured on one core with 300 to 100,000 rows, 20 to 784 columns and 2 or 10 classes whose
    labels are noisy, where it is right to a factor of two. Classes that are easily told apart end
    trees early, and take a third of it.
    """
    return 100 * outputs * columns * (130e-6 * min(1.0, rows / 1000) + 16e-9 * rows)


def _constant_class(seed: int) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier()


def _logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=ITERATIONS)


def _classifying_trees(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=seed)


def _mean(seed: int) -> Any:
    from sklearn.dummy import DummyRegressor

    return DummyRegressor()


def _ridge(seed: int) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge()


def _regressing_trees(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(random_state=seed)


CLASSIFIERS: Mapping[str, Kind] = {
    "constant": Kind(_constant_class, _no_time),
    "linear": Kind(_logistic, _time_of_logistic),
    "trees": Kind(_classifying_trees, _time_of_trees),
}
REGRESSORS: Mapping[str, Kind] = {
    "constant": Kind(_mean, _no_time),
    "linear": Kind(_ridge, _time_of_ridge),
    "trees": Kind(_regressing_trees, _time_of_trees),
}


# One fit


def _measured(
    name: str, estimator: Any, data: Dataset, task: Task, seed: int, draw: int, most: int
) -> Yardstick:
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    rows = data.rows("leak_free", "train", draw)
    used = _some(rows, most, seed, draw)
    test = data.rows("leak_free", "test", draw)
    with threadpool_limits(limits=1):
        if task.labels and len(np.unique(data.y[used])) == 1:
            estimator = _constant_class(seed)  # the others refuse a single class
        # Weights of rows belong in this fit, and in the scores below.
        y = data.y if task.labels else data.y.astype(np.float64)
        estimator.fit(_flat(data.x, used), y[used])
        x = _flat(data.x, test)
        outputs = outputs_of(estimator, x, data.n_classes, task)
        if task.labels:
            scores = class_scores(y[test], estimator.predict(x), outputs)
        else:
            scores = errors(y[test], outputs[:, 0], float(y[rows].std()) or 1.0)
    return Yardstick(
        name=name,
        estimator=" ".join(str(estimator).split()),
        draw=draw,
        rows=used.size,
        of_rows=rows.size,
        scores=scores,
        outputs=(outputs[:, 1:] if data.n_classes == 2 else outputs).astype(np.float32),
        seconds=time.perf_counter() - began,
    )


def _some(rows: Ints, most: int, seed: int, draw: int) -> Ints:
    """At most so many of the rows, drawn at random and left in their order."""
    if rows.size <= most:
        return rows
    rng = np.random.default_rng([seed, draw])
    return rows[np.sort(rng.choice(rows.size, most, replace=False))]


def _flat(x: Floats, rows: Ints) -> np.ndarray:
    """Examples as vectors, (n, inputs) float64: float32 can keep a linear model from converging."""
    return x[rows].reshape(rows.size, -1).astype(np.float64)


def outputs_of(estimator: Any, x: np.ndarray, n_classes: int, task: Task) -> np.ndarray:
    """Probabilities (n, n_classes), or the predicted numbers (n, 1), float64.

    A class without training rows has the probability 0.
    """
    if not task.labels:
        return np.asarray(estimator.predict(x), np.float64)[:, None]
    outputs = np.zeros((len(x), n_classes))
    outputs[:, estimator.classes_] = estimator.predict_proba(x)
    return outputs


def class_scores(y: np.ndarray, classes: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Scores of a classifier on labels y (n,), by column of runs.csv.

    Args:
        classes: (n,) predicted.
        outputs: (n, n_classes) probabilities.

    F1 is that of the second of two classes, or else the mean over classes; ROC AUC of more than two
    classes is the mean of each against the others. Both and balanced accuracy are nan where a class
    has no example.
    """
    from sklearn import metrics

    known = np.arange(outputs.shape[1])
    scores = {
        "test_accuracy": metrics.accuracy_score(y, classes),
        "test_loss": metrics.log_loss(y, outputs, labels=known),
    }
    every = {"test_balanced_accuracy": np.nan, "test_roc_auc": np.nan, "test_f1": np.nan}
    if len(np.unique(y)) == known.size:
        two = known.size == 2
        every = {
            "test_balanced_accuracy": metrics.balanced_accuracy_score(y, classes),
            "test_roc_auc": metrics.roc_auc_score(
                y, outputs[:, 1] if two else outputs, multi_class="ovr"
            ),
            "test_f1": metrics.f1_score(y, classes, average="binary" if two else "macro"),
        }
    return {name: float(value) for name, value in (scores | every).items()}


def errors(y: np.ndarray, predicted: np.ndarray, scale: float) -> dict[str, float]:
    """Scores of a regression on targets y (n,), by column of runs.csv.

    `scale`: the standard deviation of the draw's training targets, by which the loss is measured.
    """
    from sklearn import metrics

    return {
        "test_rmse": float(metrics.root_mean_squared_error(y, predicted)),
        "test_mae": float(metrics.mean_absolute_error(y, predicted)),
        "test_r2": float(metrics.r2_score(y, predicted)) if np.ptp(y) else float("nan"),
        "test_loss": float(metrics.mean_squared_error(y, predicted)) / scale**2,
    }
