"""Columns as a model's inputs: fitted on the training rows of one split, and on nothing else.

A served model repeats the preparation of a split with the file `columns` and the pickled
transformer, which is made of scikit-learn's own classes:

    transformer = pickle.loads(...)
    outputs = transformer.transform(columns.typed(frame, roles))
    x = columns.inputs(outputs, len(roles.scaled), robust, width)

`robust` is whether `scaling` is `robust`, and `width` the number of inputs of all splits together:
a split whose training rows have fewer categories fills up with zeros, see `padded`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.datasets.columns import Doubles, Roles, inputs

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

Scaling = Literal["robust", "standard"]
Floats = npt.NDArray[np.float32]

MOST_CATEGORIES = 31  # inputs of a column: 30 values, and one for all others
SMALLEST = 1e-150  # of a scale: what is divided by less can exceed what a number holds
CHUNK = 65_536  # rows that are transformed at once, which bounds the memory


def fit(
    typed_train: pd.DataFrame, roles: Roles, scaling: Scaling, missing: Sequence[str] = ()
) -> "ColumnTransformer":
    """The transformer of one split, fitted on its training rows.

    `typed_train` is what `columns.typed` gives for these rows. Numbers and dates are scaled, and
    where missing replaced by the median; the columns of `missing`, those that lack a value in any
    row of the table, also have an input that says so, so that the width is the same in all splits.
    Categories have an input per value; from 32 values on, the 30 most frequent have one each, and
    the others, new ones included, one together. Otherwise a new category is zeros.

    Robust scaling is (x - median) / (75 % quartile - 25 % quartile); where quartiles are equal,
    half the range takes their place, or 1 where that is zero too (arXiv 2407.04491).
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator
    from sklearn.preprocessing import OneHotEncoder

    flagged = [name for name in roles.scaled if name in set(missing)]
    categories = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MOST_CATEGORIES,
        sparse_output=False,
        dtype=np.float32,
    )
    transformer = ColumnTransformer(
        [
            ("scaled", _numbers(scaling), list(roles.scaled)),
            ("missing", MissingIndicator(features="all"), flagged),
            ("categories", categories, list(roles.categories)),
        ],
        sparse_threshold=0,
        verbose_feature_names_out=False,
    )
    empty = [name for name in roles.scaled if typed_train[name].isna().all()]
    # Scalers warn of columns without any value; these are settled below.
    transformer.fit(typed_train.fillna(dict.fromkeys(empty, 0.0)))
    if roles.scaled:
        _settle(transformer.named_transformers_["scaled"], typed_train[list(roles.scaled)], empty)
    return transformer


def transform(
    transformer: "ColumnTransformer", typed: pd.DataFrame, roles: Roles, scaling: Scaling
) -> Floats:
    """The inputs of all rows, (n, k) float32 and finite; scaled numbers come first.

    Robustly scaled numbers are clipped smoothly to between -3 and 3.
    """
    result = np.empty((len(typed), len(names(transformer))), np.float32)
    for start in range(0, len(typed), CHUNK):
        rows = slice(start, start + CHUNK)
        outputs = transformer.transform(typed.iloc[rows])
        result[rows] = inputs(outputs, len(roles.scaled), scaling == "robust")
    return result


def names(transformer: "ColumnTransformer") -> tuple[str, ...]:
    """What each of the k outputs is, such as `age`, `age is missing`, `colour = red`.

    `colour = (other)` is that of all other values.
    """
    columns = {name: list(chosen) for name, _, chosen in transformer.transformers_}
    outputs = [*columns["scaled"], *(f"{name} is missing" for name in columns["missing"])]
    if columns["categories"]:
        encoder = transformer.named_transformers_["categories"]
        for name, values, rare in zip(
            columns["categories"],
            encoder.categories_,
            encoder.infrequent_categories_,
            strict=True,
        ):
            others = set() if rare is None else {*rare}
            outputs += [f"{name} = {value}" for value in values if value not in others]
            outputs += [f"{name} = (other)"] * bool(others)
    return tuple(outputs)


def padded(blocks: Sequence[Floats]) -> list[Floats]:
    """Splits' inputs with columns of zeros on the right, so that all have the same width.

    >>> [block.tolist() for block in padded([np.ones((1, 2)), np.ones((1, 1))])]
    [[[1.0, 1.0]], [[1.0, 0.0]]]
    """
    width = max(block.shape[1] for block in blocks)
    return [np.pad(block, ((0, 0), (0, width - block.shape[1]))) for block in blocks]


def _numbers(scaling: Scaling) -> "Pipeline":
    """Scales, then fills: cells filled before would shrink the distance of the quartiles."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import RobustScaler, StandardScaler

    scaler = RobustScaler() if scaling == "robust" else StandardScaler()
    # Medians are set by `_settle`: those of SimpleImputer take longer than all the rest together.
    fill = SimpleImputer(strategy="constant", fill_value=0.0)
    return Pipeline([("scale", scaler), ("fill", fill)])


def _settle(numbers: "Pipeline", train: pd.DataFrame, empty: Sequence[str]) -> None:
    """Sets scales that scikit-learn would leave at 1 or too small to divide by; and the medians.

    Columns that are `empty` in training become 0: nothing is known of their scale.
    """
    scaler, fill = numbers.named_steps["scale"], numbers.named_steps["fill"]
    robust = hasattr(scaler, "center_")
    if robust:
        scaler.scale_ = _spread(train.fillna(dict.fromkeys(empty, 0.0)).to_numpy(np.float64))
    scaler.scale_[scaler.scale_ < SMALLEST] = 1
    center = scaler.center_ if robust else scaler.mean_
    center[[name in empty for name in train]] = np.nan
    fill.statistics_ = pd.DataFrame(scaler.transform(train)).median().fillna(0.0).to_numpy()


def _spread(values: Doubles) -> Doubles:
    """Distance of the quartiles of each column, or half its range, or 1; (k,)."""
    low, high = np.nanquantile(values, (0.25, 0.75), axis=0)
    bottom, top = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    # Differences that are nothing but rounding are none.
    rounding = 16 * np.finfo(np.float64).eps * np.maximum(np.abs(bottom), np.abs(top))
    least = np.maximum(rounding, SMALLEST)
    half_range = np.where(top - bottom > least, (top - bottom) / 2, 1)
    spread: Doubles = np.where(high - low > least, high - low, half_range)
    return spread
