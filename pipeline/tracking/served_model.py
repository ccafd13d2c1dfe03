"""What a logged model does with the values that people have; a copy of this file lies with it.

So it imports nothing of the project. MLflow calls `_load_pyfunc`. Beside `model.keras` lies
`inputs.json`: `shape` of one example, `center` and `scale` of its values, `classes`, which is null
for a model that tells none, and `restores`, whether it returns examples.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MODEL = "model.keras"
INPUTS = "inputs.json"
PREDICTION = "prediction"
PROBABILITY = "probability_"


def _load_pyfunc(data_path: str) -> "Served":
    import keras

    folder = Path(data_path)
    return Served(
        keras.saving.load_model(folder / MODEL, compile=False),
        **json.loads((folder / INPUTS).read_text(encoding="utf-8")),
    )


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
    ) -> None:
        self._model = model
        self._shape = tuple(shape)
        self._center = np.array(center)
        self._scale = np.array(scale)
        self._classes = classes
        self._restores = restores

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A table of predictions, with probabilities of classes; of an autoencoder the examples.

        Args:
            model_input: examples (n, *shape), or (n, values) as in a table with a column per value.
            params: MLflow passes them; there are none.

        Raises ValueError for another number of values, and for values that are no finite numbers.
        """
        values = self._values(model_input)
        scaled = (values - self._center) / self._scale
        x = scaled.astype(np.float32).reshape(-1, *self._shape)
        outputs = np.asarray(self._model.predict(x, verbose=0))
        if self._restores:
            made = outputs.reshape(len(values), -1) * self._scale + self._center
            return made.reshape(-1, *self._shape)
        if self._classes is None:
            return pd.DataFrame({PREDICTION: outputs[:, 0]})
        return self._table(outputs, self._classes)

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
