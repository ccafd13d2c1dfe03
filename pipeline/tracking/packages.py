"""A .keras file as an MLflow model that takes values as people have them, without loading it."""

import importlib.metadata
import json
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.datasets import Columns, Dataset, Scaling, columns
from pipeline.datasets.task import Task
from pipeline.tracking import served_model

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import Model, ModelSignature


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the models of a study take and return."""

    shape: tuple[int, ...]  # of one example
    classes: tuple[str, ...]  # by number
    scaling: Scaling
    example: npt.NDArray[np.float64]  # (1, *shape), before scaling
    table: Columns | None = None  # the columns that they take instead of values

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """Those of a prepared data set; the example is of its first draw."""
        center, scale = data.scaling.of(0)
        x = data.x[data.rows("leak_free", "train", 0)[:1]].astype(float)
        example = (x.reshape(1, -1) * scale + center).reshape(x.shape)
        classes = data.classes or tuple(map(str, range(data.n_classes)))
        return cls(data.input_shape, classes, data.scaling, np.round(example, 6), data.columns)

    def told(self, draw: int, task: Task) -> dict[str, Any]:
        """The content of inputs.json for a model of a draw."""
        center, scale = self.scaling.of(draw)
        return {
            "shape": list(self.shape),
            "center": center.tolist(),
            "scale": scale.tolist(),
            "classes": list(self.classes) if task.labels else None,
            "restores": task.target.of_input,
            "table": None if self.table is None else _table(self.table),
        }


def _table(table: Columns) -> dict[str, Any]:
    """How inputs follow from columns, as `served_model.Table` takes it."""
    return {
        "roles": {name: getattr(table, name) for name in ("numbers", "categories", "dates")},
        "scaled": len(table.numbers) + len(table.dates),
        "robust": table.scaling == "robust",
        "width": table.width,
    }


class Packages:
    """Makes MLflow models of .keras files without loading them, in one folder that is reused.

    `inputs`: None, if the prepared data are not there; models then take prepared values, by
    `mlflow.keras` alone.
    """

    def __init__(self, inputs: Inputs | None) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        names = ["mlflow", "keras", "tensorflow", "numpy", "pandas"]
        if inputs is not None and inputs.table is not None:
            names.append("scikit-learn")
        pins = [f"{name}=={importlib.metadata.version(name)}" for name in names]
        self._write("requirements.txt", "\n".join(pins))
        python = f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
        self._write("python_env.yaml", python)
        for name in ("data", "code"):
            (self._folder / name).mkdir()
        shutil.copy(served_model.__file__, self._folder / "code")
        shutil.copy(columns.__file__, self._folder / "code")
        self._inputs = inputs
        self._example = None if inputs is None else self._write_example(inputs)

    def close(self) -> None:
        """Removes the folder."""
        self._temporary.cleanup()

    def pack(
        self, keras_file: Path, logged: "LoggedModel", run_id: str, draw: int, task: Task
    ) -> Path:
        """The folder with the files of one model, ready to be logged.

        `draw`: of the data that it was trained on.
        """
        from mlflow.models import Model

        link = self._folder / "data" / served_model.MODEL
        link.unlink(missing_ok=True)
        link.symlink_to(keras_file.resolve(strict=True))
        model = Model(
            artifact_path=logged.artifact_location,
            run_id=run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            model_size_bytes=keras_file.stat().st_size,
            saved_input_example_info=self._example,
        )
        version = importlib.metadata.version("keras")
        model.add_flavor("keras", data="data", keras_version=version, save_exported_model=False)
        if self._inputs is not None:
            self._serve(model, self._inputs.told(draw, task))
            if self._inputs.table is not None:
                fitted = self._folder / "data" / served_model.PREPROCESSING
                fitted.write_bytes(self._inputs.table.of(draw))
        model.save(self._folder / "MLmodel")
        return self._folder

    def _serve(self, model: "Model", told: dict[str, Any]) -> None:
        """Adds what `mlflow.pyfunc` and `mlflow models` need."""
        from mlflow import pyfunc

        self._write(f"data/{served_model.INPUTS}", json.dumps(told))
        loader = Path(served_model.__file__).stem
        environment = "python_env.yaml"
        pyfunc.add_to_model(model, loader, data="data", code="code", python_env=environment)
        if told["classes"] is not None:
            model.signature = _signature(told["classes"])

    def _write_example(self, inputs: Inputs) -> dict[str, Any]:
        """Writes two files, for people and for requests to a server; their entry in MLmodel."""
        if inputs.table is None:
            kind: dict[str, Any] = {"type": "ndarray"}
            rows = inputs.example.tolist()
            told, request = rows, {"inputs": rows}
        else:
            kind = {"type": "dataframe", "pandas_orient": "split"}
            row = json.loads(inputs.table.example)
            told = {"columns": [*row], "data": [[*row.values()]]}
            request = {"dataframe_split": told}
        self._write("input_example.json", json.dumps(told))
        self._write("serving_input_example.json", json.dumps(request))
        return {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            **kind,
        }

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")


def _signature(classes: list[str]) -> "ModelSignature":
    """Of the table that is returned. Inputs have none: arrays as well as tables are taken."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    probabilities = [
        ColSpec(DataType.float, f"{served_model.PROBABILITY}{name}") for name in classes
    ]
    return ModelSignature(
        outputs=Schema([ColSpec(DataType.string, served_model.PREDICTION), *probabilities])
    )
