"""Turns runs into members of a population, and trained members into results.

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
from pipeline.models.plain import in_own_unit, plain
from pipeline.models.stack import WHITENING
from pipeline.techniques.changes import Change
from pipeline.techniques.part import TrainingPlan
from pipeline.techniques.structure import Whitening
from pipeline.training import exports
from pipeline.training.evaluation import evaluate, score, validation_score
from pipeline.training.runs import Result, Run
from pipeline.training.targets import class_weights, standard

MODELS_KEPT = 64
LARGEST_KEPT = 2**20  # bytes of a trial's weights; a search may have hundreds of trials


def training_of(
    change: Change,
    model: keras.Sequential,
    training: sections.Training,
    n_classes: int | None,
    regression: bool = False,
) -> Training:
    """The training that members with this change share; see `engine.Training`."""
    plan = planned(change, training.epochs, training.batch_size)
    return Training(
        optimizer=training.optimizer,
        batch_size=plan.batch_size,
        epochs=training.epochs,
        n_classes=n_classes,
        monitor=plan.monitor,
        smoothed=plan.smoothing is not None,
        averaging=plan.averaging,
        start_from_epoch=plan.start_from_epoch,
        restart_after=plan.restart_after,
        kernel_steps=tuple(
            (KernelStep(kind.slot, on.step, on.before), indices)
            for kind, on in plan.kernel_steps.items()
            if (indices := building.hidden_kernels(model, change, kind))
        ),
        mixup=plan.mixup is not None,
        momentum=training.momentum > 0,
        regression=regression,
    )


def member_hyperparameters(change: Change, epochs: int) -> dict[str, Any]:
    """The fields of a `Member` that a change sets, in a training of this many epochs."""
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
    """How the change is trained; `batch_size`: unless the change sets its own."""
    plan = TrainingPlan(batch_size, epochs)
    for part in sorted(change.everywhere(), key=lambda part: part.order):
        part.on_training(plan)
    return plan


class Trainer:
    """Trains the runs of one data set; keeps data, models and compiled programs between calls."""

    def __init__(self, dataset: Dataset, engine: Engine) -> None:
        self.dataset, self.engine = dataset, engine
        self._models: dict[object, keras.Sequential] = {}
        self._predictors: dict[object, keras.Sequential] = {}  # models that score trials
        self._spectra: dict[bytes, whitening.Spectrum] = {}  # training rows → their spectrum

    def program(self, run: Run) -> tuple[str, int]:
        """The name of the program that trains this run, and how many runs it trains at once."""
        member, training = self._member(run), self._training(run)
        name = self.engine.program_name([member], training)
        return name, self.engine.population(member, training)

    def run(
        self,
        runs: Sequence[Run],
        checkpoints: Sequence[Path | None],
        on_chunk: Callable[[int], None] = lambda epochs: None,
    ) -> list[Result]:
        """Trains runs that differ in hyperparameters, seed and draw alone.

        `checkpoints`: for each run the file to resume from, or None. `on_chunk` is called with the
        number of epochs trained so far.
        """
        members = [
            replace(self._member(run), checkpoint=_read_checkpoint(path) if path else None)
            for run, path in zip(runs, checkpoints, strict=True)
        ]
        training = self._training(runs[0])
        trained = self.engine.train(members, training, self.dataset.x, self.dataset.y, on_chunk)
        pairs = zip(runs, trained, strict=True)
        return [self._result(run, with_errors(run, one, self.dataset)) for run, one in pairs]

    def scores(self, runs: Sequence[Run], weights: Sequence[Path]) -> list[dict[str, float]]:
        """The scores of trials on test examples, from .npz files of their weights."""
        model = self._built(runs[0])
        return [
            score(run, self._predicting(run, model), self.dataset, _read_weights(path))
            for run, path in zip(runs, weights, strict=True)
        ]

    def _built(self, run: Run) -> keras.Sequential:
        """A model that predicts; for weights of any values of the run's technique."""
        shapes = self.dataset.input_shape, self.dataset.n_classes
        rows = len(self._train_rows(run))
        return building.build(run.model, run.change, *shapes, rows, run.task)

    def _predicting(self, run: Run, model: keras.Sequential) -> keras.Sequential:
        """The model, predicting in the target's own unit."""
        if not run.task.quantity:
            return model
        return in_own_unit(model, *standard(run, self.dataset))

    def _training(self, run: Run) -> Training:
        model = self._model(run)
        n_classes = self.dataset.n_classes if run.task.labels else None
        training = training_of(run.change, model, run.training, n_classes, run.task.quantity)
        return replace(
            training,
            resumable=run.resumable,
            weighted=self.dataset.weights is not None,
            class_weighted=run.training.class_weight is not None,
        )

    def _member(self, run: Run) -> Member:
        model, train_rows = self._model(run), self._train_rows(run)
        mean, scale = standard(run, self.dataset)
        val_rows = run.rows(self.dataset, "val")
        return Member(
            model=model,
            weights=initial_weights(
                model, run.derived_seed("weights"), self._fitted(run, train_rows)
            ),
            learning_rate=run.training.learning_rate,
            momentum=run.training.momentum,
            train_rows=train_rows,
            val_rows=val_rows,
            target_mean=mean,
            target_scale=scale,
            train_weights=self.dataset.weights_of(train_rows),
            val_weights=self.dataset.weights_of(val_rows),
            class_weights=class_weights(run, self.dataset, train_rows),
            seed=run.derived_seed("order"),
            **member_hyperparameters(run.change, run.training.epochs),
        )

    def _train_rows(self, run: Run) -> np.ndarray:
        """The rows that the run trains on, (n,): with those of validation if its change says so."""
        train, val = run.rows(self.dataset, "train"), run.rows(self.dataset, "val")
        too = planned(run.change, run.training.epochs).validation_too
        return np.concatenate([train, val]) if too else train

    def _fitted(self, run: Run, rows: np.ndarray) -> dict[str, Arrays]:
        """The weights of layers that are fitted to the training examples, by the layers' names.

        Only these examples are read. Seeds that share them share the fit.
        """
        part = run.change.get(Whitening)
        if part is None:
            return {}
        key = rows.tobytes()
        if key not in self._spectra:
            self._spectra[key] = whitening.fit(self.dataset.x[rows])
        return {WHITENING: self._spectra[key].layer(part.epsilon)}

    def _model(self, run: Run) -> keras.Sequential:
        """The plain Keras model; all seeds share one, since building it takes long.

        A trial's model is an outline, since it makes no predictions.
        """
        make = building.outline if run.setting == "trial" else building.build
        rows = len(self._train_rows(run))
        key = (make, run.model, run.technique, tuple(sorted(run.values.items())), rows)
        if key not in self._models:
            if len(self._models) == MODELS_KEPT:  # a search has a model for every trial
                self._models.clear()
                keras.utils.clear_session(free_memory=False)  # frees what Keras keeps of the models
            shapes = self.dataset.input_shape, self.dataset.n_classes
            self._models[key] = make(run.model, run.change, *shapes, rows, run.task)
        return self._models[key]

    def _result(self, run: Run, trained: Trained) -> Result:
        measures = training_measures(run, trained)
        if run.setting == "trial":
            measures |= self._validated(run, trained)
            checkpoint = _checkpoint_arrays(trained.checkpoint)
            small = sum(weight.nbytes for weight in trained.weights) <= LARGEST_KEPT
            weights = trained.weights if small else None
            return Result(run.key, measures, checkpoint=checkpoint, weights=weights)
        model = self._model(run)
        model.set_weights(trained.weights)
        model = self._predicting(run, plain(model))
        evaluation = evaluate(run, model, self.dataset)
        return Result(
            key=run.key,
            trained=measures,
            curves=trained.curves,
            model=exports.saved(model),
            probabilities=evaluation.probabilities,
            checkpoint=_checkpoint_arrays(trained.checkpoint),
            inspection=evaluation.inspection,
            measured=evaluation.measures,
        )

    def _validated(self, run: Run, trained: Trained) -> dict[str, float]:
        """A trial's validation score if training has no curve of it, from the weights it kept."""
        if run.task.val.name in trained.curves:
            return {}
        key = run.model, run.technique, run.combine
        if key not in self._predictors:
            if len(self._predictors) == MODELS_KEPT:
                self._predictors.clear()
            self._predictors[key] = self._built(run)
        return validation_score(run, self._predictors[key], self.dataset, trained.weights)


def with_errors(run: Run, trained: Trained, dataset: Dataset) -> Trained:
    """With the curves `train_rmse` and `val_rmse` of a regression, in the target's own unit."""
    if not run.task.quantity:
        return trained
    _, scale = standard(run, dataset)
    losses = {part: trained.curves[f"{part}_loss"] for part in ("train", "val")}
    errors = {f"{part}_rmse": np.float32(scale) * np.sqrt(loss) for part, loss in losses.items()}
    return replace(trained, curves={**errors, **trained.curves})


def training_measures(run: Run, trained: Trained) -> dict[str, float]:
    """The values of the curves in the epoch whose weights were kept, and the epochs that were run.

    `fall`: by how much the followed validation score fell from its best epoch to the last one. A
    run that diverges in its first epoch has the values of that epoch.
    """
    epochs_before = run.change.before_last_fit(run.training.epochs)
    finite = trained.epochs_run - (trained.diverged is not None)
    kept = max(0, (trained.best_epoch or finite) - 1)
    last = {name: float(curve[kept]) for name, curve in trained.curves.items()}
    followed = run.task.of("val", run.task.followed)
    score = followed.sign * trained.curves[followed.name][: max(1, finite)]
    return last | {
        "fall": float(score.max() - score[-1]),
        "epochs_run": trained.epochs_run,
        "last_fit_epochs": max(0, trained.epochs_run - epochs_before),
        "diverged": trained.diverged is not None,
        "seconds": trained.seconds,
    }


def _checkpoint_arrays(checkpoint: Checkpoint | None) -> dict[str, np.ndarray] | None:
    if checkpoint is None:
        return None
    state = {
        f"{name}/{index}": array
        for name, arrays in checkpoint.state.items()
        for index, array in enumerate(arrays)
    }
    return {"curves": checkpoint.curves, "seconds": np.array(checkpoint.seconds), **state}


def _read_weights(path: Path) -> list[np.ndarray]:
    with np.load(path) as arrays:
        return [arrays[name] for name in sorted(arrays.files)]


def _read_checkpoint(path: Path) -> Checkpoint:
    """The inverse of `_checkpoint_arrays`, from an .npz file."""
    with np.load(path) as arrays:
        state: dict[str, list[np.ndarray]] = defaultdict(list)
        for name in arrays.files:  # in the order in which they were written
            entry, index, _ = name.partition("/")
            if index:
                state[entry].append(arrays[name])
        return Checkpoint(state, arrays["curves"], float(arrays["seconds"]))
