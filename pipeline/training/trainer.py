"""Turns units into members of a population, and trained members into results.

Worker processes run this module; the parent does not import it, nor TensorFlow.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.config import sections
from pipeline.datasets import Dataset
from pipeline.engine import Checkpoint, Engine, Member, Trained, Training
from pipeline.engine.optimizers import KernelStep
from pipeline.models import building, whitening
from pipeline.models.initial import Arrays, initial_weights
from pipeline.models.plain import plain
from pipeline.models.stack import WHITENING
from pipeline.techniques.changes import Change
from pipeline.techniques.part import TrainingPlan
from pipeline.techniques.structure import Whitening
from pipeline.training import exports
from pipeline.training.evaluation import evaluate
from pipeline.training.runs import Result, Run

MODELS_KEPT = 64


def training_of(
    change: Change, model: keras.Sequential, how: sections.Training, n_classes: int | None
) -> Training:
    """What all members share that train this change in this way; no classes: a reconstruction."""
    plan = planned(change, how.epochs, how.batch_size)
    return Training(
        optimizer=how.optimizer,
        batch_size=plan.batch_size,
        epochs=how.epochs,
        n_classes=n_classes,
        monitor=plan.monitor,
        smoothed=plan.smoothing is not None,
        averaging=plan.averaging,
        start_from_epoch=plan.start_from_epoch,
        kernel_steps=tuple(
            (KernelStep(kind.slot, on.step, on.before), places)
            for kind, on in plan.kernel_steps.items()
            if (places := building.hidden_kernels(model, change, kind))
        ),
        mixup=plan.mixup is not None,
    )


def member_numbers(change: Change, epochs: int) -> dict[str, Any]:
    """The fields of a `Member` that a change sets, in a training of so many epochs."""
    plan = planned(change, epochs)
    return {
        "patience": plan.patience,
        "label_smoothing": plan.smoothing or 0.0,
        "decay": plan.decay,
        "average_after": plan.average_after,
        "kernel_steps": {kind.slot: on.strength for kind, on in plan.kernel_steps.items()},
        "mixup": plan.mixup or 0.0,
    }


def planned(change: Change, epochs: int, batch_size: int = 1) -> TrainingPlan:
    """How the change is trained, where nothing else sets the rows of a batch."""
    plan = TrainingPlan(batch_size, epochs)
    for part in sorted(change.everywhere(), key=lambda part: part.order):
        part.on_training(plan)
    return plan


class Trainer:
    """Trains units of one data set; keeps the data and the compiled programs between calls."""

    def __init__(self, dataset: Dataset, engine: Engine) -> None:
        self.dataset, self.engine = dataset, engine
        self._models: dict[object, keras.Sequential] = {}
        self._spectra: dict[bytes, whitening.Spectrum] = {}  # training rows → their fit

    def program(self, run: Run) -> tuple[str, int]:
        """A name of the program that trains units like this one, and how many it takes at once."""
        member, training = self._member(run), self._training(run)
        name = self.engine.program_name([member], training)
        return name, self.engine.population(member, training)

    def run(
        self,
        runs: Sequence[Run],
        checkpoints: Sequence[Path | None],
        on_chunk: Callable[[int], None] = lambda epochs: None,
    ) -> list[Result]:
        """Trains units that share all but hyperparameters, seed and draw.

        `checkpoints`: for each unit the file to go on from, if there is one. `on_chunk` is told
        the epochs that are done.
        """
        members = [
            replace(self._member(run), checkpoint=_read_checkpoint(path) if path else None)
            for run, path in zip(runs, checkpoints, strict=True)
        ]
        training = self._training(runs[0])
        trained = self.engine.train(members, training, self.dataset.x, self.dataset.y, on_chunk)
        return [self._result(*pair) for pair in zip(runs, trained, strict=True)]

    def _training(self, run: Run) -> Training:
        model = self._model(run)
        n_classes = self.dataset.n_classes if run.task.labels else None
        found = training_of(run.change, model, run.training, n_classes)
        return replace(found, resumable=run.resumable)

    def _member(self, run: Run) -> Member:
        model = self._model(run)
        train_rows = self.dataset.rows(run.protocol, "train", run.draw)
        return Member(
            model=model,
            weights=initial_weights(
                model, run.derived_seed("weights"), self._fitted(run, train_rows)
            ),
            learning_rate=run.training.learning_rate,
            train_rows=train_rows,
            val_rows=self.dataset.rows(run.protocol, "val", run.draw),
            seed=run.derived_seed("order"),
            **member_numbers(run.change, run.training.epochs),
        )

    def _fitted(self, run: Run, rows: np.ndarray) -> dict[str, Arrays]:
        """The values of layers that take theirs from the training rows, by the layers' names.

        Nothing but these rows is read. Seeds that share rows share the fit.
        """
        wanted = run.change.get(Whitening)
        if wanted is None:
            return {}
        key = rows.tobytes()
        if key not in self._spectra:
            self._spectra[key] = whitening.fit(self.dataset.x[rows])
        return {WHITENING: self._spectra[key].layer(wanted.epsilon)}

    def _model(self, run: Run) -> keras.Sequential:
        """The plain Keras model; one serves all seeds, since building one takes long.

        A trial's is an outline: nothing is predicted with it.
        """
        make = building.outline if run.setting == "trial" else building.build
        rows = len(self.dataset.rows(run.protocol, "train", run.draw))
        key = (make, run.model, run.technique, tuple(sorted(run.values.items())), rows)
        if key not in self._models:
            if len(self._models) == MODELS_KEPT:  # a search has a model for every trial
                self._models.clear()
                keras.utils.clear_session(free_memory=False)  # Keras holds what models were made of
            shapes = self.dataset.input_shape, self.dataset.n_classes
            self._models[key] = make(run.model, run.change, *shapes, rows, run.task)
        return self._models[key]

    def _result(self, run: Run, trained: Trained) -> Result:
        measured = training_measures(run, trained)
        if run.setting == "trial":
            return Result(run.key, measured, checkpoint=_checkpoint_arrays(trained.checkpoint))
        model = self._model(run)
        model.set_weights(trained.weights)
        model = plain(model)
        evaluation = evaluate(run, model, self.dataset)
        return Result(
            key=run.key,
            trained=measured,
            curves=trained.curves,
            model=exports.saved(model),
            probabilities=evaluation.probabilities,
            checkpoint=_checkpoint_arrays(trained.checkpoint),
            inspection=evaluation.inspection,
            measured=evaluation.measures,
        )


def training_measures(run: Run, trained: Trained) -> dict[str, float]:
    """The epoch whose weights were kept, as the curves tell it, and how many were run.

    Of a run that diverges in its first epoch that is the first, for want of one before it.
    """
    before = run.change.before_last_fit(run.training.epochs)
    finite = trained.epochs_run - (trained.diverged is not None)
    kept = max(0, (trained.best_epoch or finite) - 1)
    last = {name: float(curve[kept]) for name, curve in trained.curves.items()}
    return last | {
        "epochs_run": trained.epochs_run,
        "last_fit_epochs": max(0, trained.epochs_run - before),
        "diverged": trained.diverged is not None,
        "seconds": trained.seconds,
    }


def _checkpoint_arrays(checkpoint: Checkpoint | None) -> dict[str, np.ndarray] | None:
    if checkpoint is None:
        return None
    state = {
        f"{name}/{i}": array
        for name, arrays in checkpoint.state.items()
        for i, array in enumerate(arrays)
    }
    return {"curves": checkpoint.curves, "seconds": np.array(checkpoint.seconds), **state}


def _read_checkpoint(path: Path) -> Checkpoint:
    """The inverse of `_checkpoint_arrays`, from an .npz file."""
    with np.load(path) as arrays:
        state: dict[str, list[np.ndarray]] = defaultdict(list)
        for name in arrays.files:  # in the order in which they were written
            entry, part, _ = name.partition("/")
            if part:
                state[entry].append(arrays[name])
        return Checkpoint(state, arrays["curves"], float(arrays["seconds"]))
