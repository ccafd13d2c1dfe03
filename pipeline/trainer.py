"""Turns units into members of a population, and trained members into results.

Worker processes run this module; the parent does not import it, nor TensorFlow.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from pipeline import models
from pipeline.datasets import PARTS, Dataset
from pipeline.engine import Checkpoint, Engine, Member, Trained, Training
from pipeline.measures import measure
from pipeline.units import Result, Unit

MODELS_KEPT = 64


class Trainer:
    """Trains units of one data set; keeps the data and the compiled programs between calls."""

    def __init__(self, dataset: Dataset, engine: Engine) -> None:
        self.dataset, self.engine = dataset, engine
        self._models: dict[object, keras.Sequential] = {}

    def program(self, unit: Unit) -> tuple[str, int]:
        """A name of the program that trains units like this one, and how many it takes at once."""
        member, training = self._member(unit), self._training(unit)
        name = self.engine.program_name([member], training)
        return name, self.engine.population(member, training)

    def run(
        self,
        units: Sequence[Unit],
        checkpoints: Sequence[Path | None],
        on_chunk: Callable[[int], None] = lambda epochs: None,
    ) -> list[Result]:
        """Trains units that share all but hyperparameters, seed and draw.

        `checkpoints`: for each unit the file to go on from, if there is one. `on_chunk` is told
        the epochs that are done.
        """
        members = [
            replace(self._member(unit), checkpoint=_read_checkpoint(path) if path else None)
            for unit, path in zip(units, checkpoints, strict=True)
        ]
        training = self._training(units[0])
        trained = self.engine.train(members, training, self.dataset.x, self.dataset.y, on_chunk)
        return [self._result(*pair) for pair in zip(units, trained, strict=True)]

    def _training(self, unit: Unit) -> Training:
        stopping, proximal = unit.change.stopping, unit.change.proximal
        return Training(
            optimizer=unit.training.optimizer,
            batch_size=unit.training.batch_size,
            epochs=unit.training.epochs,
            n_classes=self.dataset.n_classes,
            monitor=stopping.monitor if stopping else None,
            resumable=unit.resumable,
            thresholded=models.hidden_kernels(self._model(unit)) if proximal else (),
        )

    def _member(self, unit: Unit) -> Member:
        model = self._model(unit)
        stopping, proximal = unit.change.stopping, unit.change.proximal
        return Member(
            model=model,
            weights=models.initial_weights(model, unit.derived_seed("weights")),
            learning_rate=unit.training.learning_rate,
            train_rows=self.dataset.rows(unit.protocol, "train", unit.draw),
            val_rows=self.dataset.rows(unit.protocol, "val", unit.draw),
            seed=unit.derived_seed("order"),
            patience=int(stopping.patience) if stopping else 0,
            proximal=proximal.l1 if proximal else 0.0,
        )

    def _model(self, unit: Unit) -> keras.Sequential:
        """The plain Keras model; one serves all seeds, since building one takes long."""
        key = (unit.model, unit.technique, tuple(sorted(unit.values.items())))
        if key not in self._models:
            if len(self._models) == MODELS_KEPT:  # a search has a model for every trial
                self._models.clear()
                keras.utils.clear_session(free_memory=False)  # Keras holds what models were made of
            self._models[key] = models.build(
                unit.model, unit.change, self.dataset.input_shape, self.dataset.n_classes
            )
        return self._models[key]

    def _result(self, unit: Unit, trained: Trained) -> Result:
        measured = _training_measures(trained)
        if unit.setting == "trial":
            return Result(unit.key, measured, checkpoint=_checkpoint_arrays(trained.checkpoint))
        model = self._model(unit)
        model.set_weights(trained.weights)
        parts = {part: self.dataset.split(unit.protocol, part, unit.draw) for part in PARTS}
        found = measured | measure(model, parts)  # the exported model has the last word
        found["gap"] = found["train_accuracy"] - found["test_accuracy"]
        return Result(unit.key, found, trained.curves, _saved(model))


def _training_measures(trained: Trained) -> dict[str, float]:
    """The epoch whose weights were kept, as the curves tell it."""
    kept = (trained.best_epoch or trained.epochs_run) - 1
    last = {name: float(curve[kept]) for name, curve in trained.curves.items()}
    return last | {
        "epochs_run": trained.epochs_run,
        "diverged": trained.diverged is not None,
        "seconds": trained.seconds,
    }


def _checkpoint_arrays(checkpoint: Checkpoint | None) -> dict[str, np.ndarray] | None:
    if checkpoint is None:
        return None
    arrays = {str(i): array for i, array in enumerate(checkpoint.arrays)}
    return {"curves": checkpoint.curves, **arrays}


def _read_checkpoint(path: Path) -> Checkpoint:
    """The inverse of `_checkpoint_arrays`, from an .npz file."""
    with np.load(path) as arrays:
        return Checkpoint([arrays[str(i)] for i in range(len(arrays) - 1)], arrays["curves"])


def _saved(model: keras.Sequential) -> bytes:
    """The model as the bytes of a .keras file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()
