"""Trained models as .keras files.

Keras looks through all that a model consists of, for each file anew: 5 to 10 ms on a small network.
Runs that share a model differ in its weights alone, so Keras writes one file of it, and the others
are that file with weights of their own.
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
    """A .keras file to be filled in."""

    members: dict[str, bytes]  # by their names in the archive
    places: list[str]  # of each weight, in Keras's order, in `WEIGHTS`


def saved(model: keras.Sequential) -> bytes:
    """The model as the bytes of a .keras file."""
    form = _form(model)
    weights = io.BytesIO(form.members[WEIGHTS])
    with h5py.File(weights, "r+") as file:
        for place, weight in zip(form.places, model.get_weights(), strict=True):
            file[place][...] = weight
    filled = io.BytesIO()
    with ZipFile(filled, "w") as archive:
        for name, content in (form.members | {WEIGHTS: weights.getvalue()}).items():
            archive.writestr(name, content)
    return filled.getvalue()


@lru_cache(maxsize=1)
def _form(model: keras.Sequential) -> Form:
    """The model's file. Runs that share a model come one after the other, so one is enough.

    It is saved with weights that tell which they are, so what Keras calls them does not matter.
    """
    weights = model.get_weights()
    model.set_weights([np.full_like(weight, number) for number, weight in enumerate(weights)])
    members = _members(model)
    model.set_weights(weights)
    places = {}
    with h5py.File(io.BytesIO(members[WEIGHTS])) as file:

        def look(place: str, found: h5py.Group | h5py.Dataset) -> None:
            # A random layer's seed stands there too, but is no float32.
            if isinstance(found, h5py.Dataset) and found.dtype == np.float32:
                places[int(found[...].flat[0])] = place

        file.visititems(look)
    return Form(members, [places[number] for number in range(len(weights))])


def _members(model: keras.Sequential) -> dict[str, bytes]:
    """What Keras writes of a model, by the names in the archive."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
