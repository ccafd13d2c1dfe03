"""Checks of what callers give the engine, before a compiled program could misread it.

Tensors broadcast: a head of one unit trains against eight values without an error, towards another
aim. Nothing is converted with a loss either: float64 examples are refused, int64 labels are not.
Every error is a ValueError that names the argument, what was expected and what was received.
"""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import get_args

import keras
import numpy as np

from pipeline.engine.backend import Kind
from pipeline.engine.bounds import between, is_number, one_of, refuse, whole
from pipeline.engine.losses import Objective
from pipeline.engine.program import CURVES
from pipeline.engine.values import Checkpoint, Member, Training

# A member's value that the training must ask for → whether it does.
ASKED: dict[str, Callable[[Training], bool]] = {
    "momentum": lambda training: training.momentum,
    "label_smoothing": lambda training: training.smoothed,
    "mixup": lambda training: training.mixup,
    "decay": lambda training: training.averaging == "steps",
    "average_after": lambda training: training.averaging == "epochs",
}


def check_engine(program: object, population: object, memory: object) -> None:
    """The arguments of an engine."""
    one_of("program", program, ("auto", *get_args(Kind)))
    if population != "auto":
        whole("population", population, 1, "auto or ")
    if memory is not None and not is_number(memory, Integral):
        refuse("memory", "None or a whole number of bytes", repr(memory))


def check_members(
    members: Sequence[Member], training: Training, x: np.ndarray, y: np.ndarray
) -> None:
    """The arguments of a call, without their content's being finite; see `check_finite`."""
    if not members:
        raise ValueError("`members` must hold at least one member, but is empty")
    for index, member in enumerate(members):
        _model(f"members[{index}].model", member.model)
    _data(x, y, training)
    for index, member in enumerate(members):
        where = f"members[{index}]"
        expected = member.model.input_shape[1:]
        if x.shape[1:] != expected:
            refuse("x", f"examples of {where}.model's input shape {expected}", x.shape[1:])
        _member(where, member, training)
        for name in ("train_rows", "val_rows"):
            rows, first = getattr(member, name), getattr(members[0], name)
            _rows(f"{where}.{name}", rows, len(first), len(x))


def check_finite(x: np.ndarray, y: np.ndarray) -> None:
    """Examples and targets; this takes long for many of them, so once for each array."""
    for name, array in (("x", x), ("y", y)):
        if not np.isfinite(array).all():
            raise ValueError(f"`{name}` must be finite, but has NaN or infinite values")


def check_output(model: keras.Sequential, objective: Objective) -> None:
    """The model's output, which must have the shape of what it is compared with."""
    expected = objective.output_shape(model.input_shape[1:])
    if model.output_shape[1:] != expected:
        refuse(
            f"layer {model.layers[-1].name}",
            f"an output of shape {expected} for one example, as {objective.asks}",
            model.output_shape[1:],
        )


def _data(x: np.ndarray, y: np.ndarray, training: Training) -> None:
    for name, array in (("x", x), ("y", y)):
        if not isinstance(array, np.ndarray):
            refuse(name, "a NumPy array", type(array).__name__)
    if x.dtype != np.float32 or x.ndim < 2 or not len(x):
        refuse("x", "float32 of shape (N, ...) with N >= 1", f"{x.dtype} {x.shape}")
    if len(x) != len(y):
        raise ValueError(f"`x` and `y` must have the same length, but got {len(x)} and {len(y)}")
    if y.shape != (len(x),):
        refuse("y", f"one value for each example, of shape ({len(x)},)", y.shape)
    if training.regression and y.dtype != np.float32:
        refuse("y", "float32 for a regression", y.dtype)
    if y.dtype.kind not in "iu" and (training.n_classes is not None or y.dtype != np.float32):
        refuse("y", "labels of an integer type", y.dtype)
    n_classes = training.n_classes
    if n_classes is not None and (y.min() < 0 or y.max() >= n_classes):
        refuse("y", f"labels in [0, {n_classes})", f"{y.min()} to {y.max()}")


def _model(where: str, model: object) -> None:
    if not isinstance(model, keras.Sequential) or not model.built:
        refuse(where, "a built keras.Sequential", repr(model))


def _member(where: str, member: Member, training: Training) -> None:
    _weights(f"{where}.weights", member.weights, member.model)
    between(f"{where}.learning_rate", member.learning_rate, above=0)
    whole(f"{where}.seed", member.seed, 0, most=None)
    for name in ("patience", "average_after"):
        whole(f"{where}.{name}", getattr(member, name), 0)
    for name in ("momentum", "label_smoothing", "decay"):
        between(f"{where}.{name}", getattr(member, name), least=0, below=1)
    between(f"{where}.mixup", member.mixup, least=0)
    between(f"{where}.target_mean", member.target_mean)
    between(f"{where}.target_scale", member.target_scale, above=0)
    if not training.regression and (member.target_mean, member.target_scale) != (0, 1):
        got = f"{member.target_mean} and {member.target_scale}"
        refuse(f"{where}.target_mean, target_scale", "0 and 1 without a regression", got)
    for name, asked in ASKED.items():
        if getattr(member, name) and not asked(training):
            refuse(f"{where}.{name}", "0, as the training does not use it", getattr(member, name))
    _kernel_steps(where, member, training)
    for name in ("train", "val"):
        rows = getattr(member, f"{name}_rows")
        weights = getattr(member, f"{name}_weights")
        _positive(f"{where}.{name}_weights", weights, np.shape(rows), training.weighted)
    classes = (training.n_classes or 0,)
    where_classes = f"{where}.class_weights"
    _positive(where_classes, member.class_weights, classes, training.class_weighted)
    if member.checkpoint is not None:
        _checkpoint(f"{where}.checkpoint", member.checkpoint, member.model, training)


def _positive(where: str, weights: object, shape: tuple[int, ...], asked: bool) -> None:
    """Positive numbers of this shape, or None if the training does not use them."""
    if not asked:
        if weights is not None:
            refuse(where, "None, as the training does not use it", type(weights).__name__)
        return
    if not isinstance(weights, np.ndarray) or weights.dtype.kind != "f" or weights.shape != shape:
        got = f"{weights.dtype} {weights.shape}" if isinstance(weights, np.ndarray) else weights
        refuse(where, f"floating-point numbers of shape {shape}", got)
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        refuse(where, "finite numbers > 0", f"{weights.min()} to {weights.max()}")


def _kernel_steps(where: str, member: Member, training: Training) -> None:
    """Strengths for the training's steps, on kernels that the model has."""
    steps = {step.name for step, _ in training.kernel_steps}
    if not steps <= member.kernel_steps.keys():
        raise ValueError(
            f"{where}.kernel_steps: expected a strength for each of the training's "
            f"steps, {sorted(steps)}, but got {sorted(member.kernel_steps)}"
        )
    for name, strength in member.kernel_steps.items():
        between(f"{where}.kernel_steps[{name!r}]", strength, least=0)
    known = range(len(member.model.weights))
    for step, indices in training.kernel_steps:
        if not set(indices) <= set(known):
            expected = f"indices of {where}.model.weights, 0 to {len(known) - 1}"
            refuse(f"training.kernel_steps of {step.name}", expected, list(indices))


def _weights(where: str, weights: Sequence[np.ndarray], model: keras.Sequential) -> None:
    expected = [tuple(weight.shape) for weight in model.weights]
    got = [np.shape(weight) for weight in weights]
    if got != expected:
        refuse(where, f"arrays of the model's shapes {expected}", got)
    for index, weight in enumerate(weights):
        if np.asarray(weight).dtype != np.float32:
            refuse(f"{where}[{index}]", "float32", np.asarray(weight).dtype)
        if not np.isfinite(weight).all():
            refuse(f"{where}[{index}]", "finite values", "NaN or infinite values")


def _rows(where: str, rows: np.ndarray, expected: int, pool: int) -> None:
    """Indices of examples; as many as the first member has."""
    if not isinstance(rows, np.ndarray) or rows.ndim != 1 or rows.dtype.kind not in "iu":
        got = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        refuse(where, "an array of whole numbers of shape (n,)", got)
    if not len(rows) or len(rows) != expected:
        refuse(where, f"{expected or 'some'} rows, the number in members[0]", len(rows))
    if rows.min() < 0 or rows.max() >= pool:
        refuse(where, f"indices into `x`, from 0 to {pool - 1}", f"{rows.min()} to {rows.max()}")


def _checkpoint(
    where: str, checkpoint: Checkpoint, model: keras.Sequential, training: Training
) -> None:
    """A checkpoint of such a model, from a training that was not longer."""
    if checkpoint.curves.ndim != 2 or checkpoint.curves.shape[1] != len(CURVES):
        refuse(f"{where}.curves", f"shape (epochs, {len(CURVES)})", checkpoint.curves.shape)
    if checkpoint.epochs > training.epochs:
        refuse(where, f"at most the training's {training.epochs} epochs", checkpoint.epochs)
    expected = [tuple(weight.shape) for weight in model.weights]
    got = [np.shape(array) for array in checkpoint.state.get("weights", ())]
    if got != expected:
        refuse(f"{where}.state['weights']", f"arrays of the model's shapes {expected}", got)
