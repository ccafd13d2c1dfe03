"""A .keras file as an MLflow model, without loading it."""

import importlib.metadata
import json
import platform
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema


class Packages:
    """Makes MLflow models of .keras files without loading them, in one folder that is reused."""

    def __init__(self, example: np.ndarray | None) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        names = ("mlflow", "keras", "tensorflow", "numpy")
        pins = [f"{name}=={importlib.metadata.version(name)}" for name in names]
        self._write("requirements.txt", "\n".join(pins))
        python = f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
        self._write("python_env.yaml", python)
        (self._folder / "data").mkdir()
        self._example = None if example is None else self._write_example(example)

    def close(self) -> None:
        """Removes the folder."""
        self._temporary.cleanup()

    def pack(self, keras_file: Path, logged: "LoggedModel", run_id: str) -> Path:
        """The folder with the files of one model, ready to be logged."""
        from mlflow import pyfunc
        from mlflow.models import Model

        link = self._folder / "data" / "model.keras"
        link.unlink(missing_ok=True)
        link.symlink_to(keras_file.resolve(strict=True))
        model = Model(
            artifact_path=logged.artifact_location,
            run_id=run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            model_size_bytes=keras_file.stat().st_size,
            signature=signature(keras_file),
            saved_input_example_info=self._example,
        )
        version = importlib.metadata.version("keras")
        model.add_flavor("keras", data="data", keras_version=version, save_exported_model=False)
        pyfunc.add_to_model(model, loader_module="mlflow.keras", python_env="python_env.yaml")
        model.save(self._folder / "MLmodel")
        return self._folder

    def _write_example(self, example: np.ndarray) -> dict[str, str]:
        """Writes two files, for people and for requests to a server; their entry in MLmodel."""
        rows = np.round(example.astype(float), 6).tolist()
        self._write("input_example.json", json.dumps(rows))
        self._write("serving_input_example.json", json.dumps({"inputs": rows}))
        return {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "ndarray",
        }

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")


def signature(keras_file: Path) -> "ModelSignature":
    """Shapes and types of a model's input and, if its last layer is dense, of its output."""
    from mlflow.models import ModelSignature

    with zipfile.ZipFile(keras_file) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    _, *shape = layers[0]["config"]["batch_shape"]
    units = layers[-1]["config"].get("units")
    outputs = None if units is None else _floats(units)
    return ModelSignature(inputs=_floats(*shape), outputs=outputs)


def _floats(*shape: int) -> "Schema":
    from mlflow.types.schema import Schema, TensorSpec

    return Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))])
