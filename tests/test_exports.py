"""A file made from a template is the file that Keras writes of the same model."""

import io
from pathlib import Path
from zipfile import ZipFile

import h5py
import keras
import numpy as np
import pytest

from pipeline.models.plain import plain
from pipeline.techniques.changes import Change
from pipeline.techniques.noise import Dropout
from pipeline.techniques.registry import TECHNIQUES
from pipeline.training import exports
from pipeline.training.exports import WEIGHTS

from .engine.problem import suited, typical
from .test_models import EXAMPLES, build


def parts(content: bytes) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """A file's parts but for the date in metadata.json, and the arrays among its weights."""
    with ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    arrays = {}
    with h5py.File(io.BytesIO(members.pop(WEIGHTS))) as file:

        def look(place: str, found: h5py.Group | h5py.Dataset) -> None:
            if isinstance(found, h5py.Dataset):
                arrays[place] = found[...]

        file.visititems(look)
    assert members.pop("metadata.json")
    return members, arrays


def assert_saved_as_keras_does(model: keras.Sequential, folder: Path) -> None:
    """Of two sets of weights, of which the first may be set when the template is made."""
    rng = np.random.default_rng(0)
    for _ in range(2):
        given = [rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()]
        model.set_weights(given)
        path = folder / "model.keras"
        path.write_bytes(exports.saved(model))
        found, loaded = path.read_bytes(), keras.models.load_model(path, safe_mode=True)
        np.testing.assert_equal(model.get_weights(), given)
        np.testing.assert_equal(loaded.get_weights(), given)
        model.save(path)
        np.testing.assert_equal(parts(found), parts(path.read_bytes()))


@pytest.mark.slow
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_techniques_are_saved_as_keras_saves_them(technique: str, tmp_path: Path) -> None:
    model = suited(technique).model(technique, typical(technique))
    assert_saved_as_keras_does(plain(model), tmp_path)


@pytest.mark.parametrize("name", EXAMPLES)
def test_architectures_are_saved_as_keras_saves_them(name: str, tmp_path: Path) -> None:
    assert_saved_as_keras_does(build(name, Change(Dropout(0.5))), tmp_path)


def test_models_that_take_turns_do_not_mix(tmp_path: Path) -> None:
    one, other = (build("mlp", Change()) for _ in range(2))
    for model in (one, other, one):
        assert_saved_as_keras_does(model, tmp_path)
