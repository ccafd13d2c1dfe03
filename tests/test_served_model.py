"""The model that MLflow gets takes values as people have them and tells classes by name."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline import datasets
from pipeline.config import loading
from pipeline.datasets import Dataset, Scaling, sources
from pipeline.datasets.task import CLASSIFICATION, RECONSTRUCTION, REGRESSION, Task
from pipeline.errors import UserError
from pipeline.tracking.packages import Inputs, Packages

RAW = np.random.default_rng(0).integers(0, 17, (6, 2, 3)).astype(float)


def network(units: int, activation: str | None) -> Any:
    keras.utils.set_random_seed(1)
    layers = [keras.Input((2, 3)), keras.layers.Flatten(), keras.layers.Dense(units, activation)]
    return keras.Sequential(layers)


def loaded(folder: Path, model: Any, inputs: Inputs, task: Task = CLASSIFICATION) -> Any:
    """The model as `mlflow.pyfunc` loads it."""
    file = folder / "x.keras"
    model.save(file)
    packages = Packages(inputs)
    try:
        logged: Any = SimpleNamespace(artifact_location="somewhere", model_id="m-1")
        packed = packages.pack(file, logged, "run", 0, task)
        return mlflow.pyfunc.load_model(str(packed))
    finally:
        packages.close()


@pytest.fixture(params=["images", "nested lists", "table", "table of whole numbers"])
def given(request: pytest.FixtureRequest) -> Any:
    flat = pd.DataFrame(RAW.reshape(6, -1), columns=list("abcdef"))
    return {
        "images": RAW,
        "nested lists": RAW.tolist(),
        "table": flat,
        "table of whole numbers": flat.astype(int),
    }[request.param]


def test_values_are_scaled_and_classes_are_told_by_name(given: Any, tmp_path: Path) -> None:
    inputs = Inputs((2, 3), ("boot", "bag", "shirt"), Scaling.by(16), RAW[:1])
    model = network(3, "softmax")
    expected = model.predict(RAW / 16, verbose=0)
    told = loaded(tmp_path, model, inputs).predict(given)
    names = ["probability_boot", "probability_bag", "probability_shirt"]
    assert list(told.columns) == ["prediction", *names]
    np.testing.assert_allclose(told[names], expected, rtol=1e-6)
    assert list(told["prediction"]) == [inputs.classes[each] for each in expected.argmax(axis=1)]


def test_the_probability_of_the_second_of_two_classes_becomes_two(tmp_path: Path) -> None:
    inputs = Inputs((2, 3), ("no", "yes"), Scaling.by(1), RAW[:1])
    model = network(1, "sigmoid")
    told = loaded(tmp_path, model, inputs).predict(RAW)
    expected = model.predict(RAW, verbose=0)[:, 0]
    np.testing.assert_allclose(told["probability_yes"], expected, rtol=1e-6)
    np.testing.assert_allclose(told["probability_no"], 1 - expected, atol=1e-6)
    assert ((told["prediction"] == "yes") == (expected >= 0.5)).all()


def test_an_autoencoder_returns_values_in_their_own_unit(tmp_path: Path) -> None:
    inputs = Inputs((2, 3), ("no", "yes"), Scaling.by(16), RAW[:1])
    model = network(6, None)
    told = loaded(tmp_path, model, inputs, RECONSTRUCTION).predict(RAW)
    assert told.shape == RAW.shape
    expected = 16 * model.predict(RAW / 16, verbose=0)
    np.testing.assert_allclose(told.reshape(6, -1), expected, rtol=1e-5)


def test_numbers_are_returned_in_the_unit_of_the_model(tmp_path: Path) -> None:
    model = network(1, None)
    told = loaded(tmp_path, model, Inputs((2, 3), (), Scaling.by(16), RAW[:1]), REGRESSION)
    expected = model.predict(RAW / 16, verbose=0)[:, 0]
    np.testing.assert_allclose(told.predict(RAW)["prediction"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (RAW[:, :1], r"expected examples of shape \(2, 3\), or rows of 6 values, but got \(1, 3\)"),
        (pd.DataFrame(RAW.reshape(6, -1)[:, :5]), r"rows of 6 values, but got \(5,\)"),
        (np.where(RAW[4, 0, 0] == RAW, np.nan, RAW), "finite values, but example . "),
        (pd.DataFrame([list("abcdef")]), "expected numbers, but got could not convert"),
    ],
)
def test_wrong_values_are_refused(wrong: Any, message: str, tmp_path: Path) -> None:
    model = loaded(tmp_path, network(3, "softmax"), Inputs((2, 3), (*"abc",), Scaling.by(1), RAW))
    with pytest.raises(ValueError, match=message):
        model.predict(wrong)


@pytest.fixture(scope="module", params=["circles", "digits", "features"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    section = loading.load().study(request.param).data
    path = tmp_path_factory.mktemp("data") / "x.npz"
    datasets.save(sources.prepare(request.param, section, 1, path), path)
    return datasets.load(path)


def test_every_source_says_how_its_values_were_scaled(prepared: Dataset) -> None:
    for draw in (0, prepared.draws("leak_free") - 1):
        center, scale = prepared.scaling.of(draw)
        x, _ = prepared.split("leak_free", "train", draw)
        raw = x.reshape(len(x), -1) * scale + center
        if prepared.name == "digits":
            np.testing.assert_array_equal(raw, raw.round())
            assert raw.max() == 16
        again = ((raw - center) / scale).astype(np.float32)
        np.testing.assert_allclose(again, x.reshape(len(x), -1), rtol=1e-6, atol=1e-6)
    assert Inputs.of(prepared).example.shape == (1, *prepared.input_shape)


def test_draws_of_their_own_scaling_differ() -> None:
    section = loading.load().study("features").data
    first, second = (
        sources.prepare("features", section, 1, Path()).scaling.of(draw) for draw in (0, 1)
    )
    assert (first[0] != second[0]).all()


def test_too_few_names_of_classes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    text = "origin: me\nlicence: none\ncitation: none\nclasses: [a, b]\n"
    file.write_text(text, encoding="utf-8")
    section = loading.load().study("digits").data
    with pytest.raises(UserError, match=r"source.yaml: `classes` must be 10 different names"):
        sources.prepare(
            "digits", type(section)(**{**vars(section), "input": str(file)}), 1, tmp_path
        )
