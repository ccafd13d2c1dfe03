"""What a logged model does with the values that people have; a copy of this file lies with it.

So it imports nothing of the project. MLflow calls `_load_pyfunc`. Beside `model.keras` lies
`inputs.json`: `shape` of one example, `center` and `scale` of its values, `classes`, which is null
for a model that tells none, `restores`, whether it returns examples, and `table`, null unless the
model takes the columns of a table. Then `preprocessing.pkl`, the fitted ColumnTransformer, lies
beside it, and a copy of `datasets/columns.py` beside this file.
"""

import importlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MODEL = "model.keras"
INPUTS = "inputs.json"
PREPROCESSING = "preprocessing.pkl"
PREDICTION = "prediction"
PROBABILITY = "probability_"


def _load_pyfunc(data_path: str) -> "Served":
    import keras

    folder = Path(data_path)
    told = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
    table = told.pop("table")
    return Served(
        keras.saving.load_model(folder / MODEL, compile=False),
        table=None if table is None else Table(folder / PREPROCESSING, **table),
        **told,
    )


class Table:
    """The columns of a table as a model's inputs, as they were made for its training."""

    def __init__(
        self, fitted: Path, roles: dict[str, list[str]], scaled: int, robust: bool, width: int
    ) -> None:
        self._columns = importlib.import_module("columns")
        self._roles = self._columns.Roles(**{name: tuple(each) for name, each in roles.items()})
        self._transformer = pickle.loads(fitted.read_bytes())
        self._scaled, self._robust, self._width = scaled, robust, width

    def inputs(self, model_input: Any) -> Any:
        """(n, width) float32. Raises ValueError for absent columns, and for text among numbers."""
        frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        typed = self._columns.typed(frame, self._roles)
        outputs = self._transformer.transform(typed)
        return self._columns.inputs(outputs, self._scaled, self._robust, self._width)


class Served:
    """A Keras model that takes values as people have them, and returns classes by name."""

    def __init__(
        self,
        model: Any,
        shape: list[int],
        center: list[float],
        scale: list[float],
        classes: list[str] | None,
        restores: bool,
        table: Table | None = None,
    ) -> None:
        self._model = model
        self._columns = table
        self._shape = tuple(shape)
        self._center = np.array(center)
        self._scale = np.array(scale)
        self._classes = classes
        self._restores = restores

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A table of predictions, with probabilities of classes; of an autoencoder the examples.

        Args:
            model_input: examples (n, *shape), or (n, values) as in a table with a column per value;
                of data from a table, a table with its columns, in any order and beside others.
            params: MLflow passes them; there are none.

        Raises ValueError for another number of values, and for values that are no finite numbers.
        """
        x = self._inputs(model_input)
        outputs = np.asarray(self._model.predict(x, verbose=0))
        if self._restores:
            made = outputs.reshape(len(x), -1) * self._scale + self._center
            return made.reshape(-1, *self._shape)
        if self._classes is None:
            return pd.DataFrame({PREDICTION: outputs[:, 0]})
        return self._table(outputs, self._classes)

    def _inputs(self, model_input: Any) -> Any:
        """The examples as the model takes them, (n, *shape) float32."""
        if self._columns is not None:
            return self._columns.inputs(model_input)
        scaled = (self._values(model_input) - self._center) / self._scale
        return scaled.astype(np.float32).reshape(-1, *self._shape)

    def _values(self, model_input: Any) -> Any:
        """The values of each example, (n, values) float64."""
        try:
            values = np.asarray(model_input, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected numbers, but got {error}") from None
        width = int(np.prod(self._shape))
        if values.ndim < 2 or values.shape[1:] not in {self._shape, (width,)}:
            raise ValueError(
                f"expected examples of shape {self._shape}, or rows of {width} values, but got "
                f"{values.shape[1:] if values.ndim > 1 else values.shape}"
            )
        values = values.reshape(len(values), width)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if bad.size:
            raise ValueError(
                f"expected finite values, but example {bad[0]} (counted from 0) has another"
            )
        return values

    def _table(self, outputs: Any, classes: list[str]) -> pd.DataFrame:
        if outputs.shape[1] == 1:  # the probability of the second of two classes
            outputs = np.concatenate([1 - outputs, outputs], axis=1)
        prediction = np.array(classes)[outputs.argmax(axis=1)]
        named = {f"{PROBABILITY}{name}": outputs[:, at] for at, name in enumerate(classes)}
        return pd.DataFrame({PREDICTION: prediction, **named})
