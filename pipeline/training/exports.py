"""Trained models as .keras files.

For each file Keras goes through the whole model, which takes 5 to 10 ms for a small network. Runs
that share a model differ only in its weights, so Keras writes one file, and the files of the other
runs are copies of it with their own weights.
"""

import io
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import h5py
import keras
import numpy as np

WEIGHTS = "model.weights.h5"  # the member of a .keras file that holds them


class Form(NamedTuple):
    """A .keras file as a template for other weights."""

    members: dict[str, bytes]  # name in the archive → content
    paths: list[str]  # of the weights inside `WEIGHTS`, in Keras's order


def saved(model: keras.Sequential) -> bytes:
    """The model as the bytes of a .keras file."""
    form = _form(model)
    weights = io.BytesIO(form.members[WEIGHTS])
    with h5py.File(weights, "r+") as file:
        for path, weight in zip(form.paths, model.get_weights(), strict=True):
            file[path][...] = weight
    filled = io.BytesIO()
    with ZipFile(filled, "w") as archive:
        for name, content in (form.members | {WEIGHTS: weights.getvalue()}).items():
            archive.writestr(name, content)
    return filled.getvalue()


@lru_cache(maxsize=1)
def _form(model: keras.Sequential) -> Form:
    """The model's file. Runs that share a model follow one another, so one is enough.

    It is saved with each weight set to its own index, so Keras's names of weights do not matter.
    """
    weights = model.get_weights()
    model.set_weights([np.full_like(weight, index) for index, weight in enumerate(weights)])
    members = _members(model)
    model.set_weights(weights)
    paths = {}
    with h5py.File(io.BytesIO(members[WEIGHTS])) as file:

        def look(path: str, entry: h5py.Group | h5py.Dataset) -> None:
            # The file has the seeds of random layers too, which are not float32.
            if isinstance(entry, h5py.Dataset) and entry.dtype == np.float32:
                paths[int(entry[...].flat[0])] = path

        file.visititems(look)
    return Form(members, [paths[index] for index in range(len(weights))])


def _members(model: keras.Sequential) -> dict[str, bytes]:
    """The .keras file that Keras writes of the model: name in the archive → content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
