"""Trains populations of ordinary Keras models in compiled programs.

`Engine.train` takes members (a Keras model, initial weights, a seed, examples to train on) and
returns their weights and curves, as `model.fit` would from the same weights, batch order and noise.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pipeline.engine import backend

# isort: split
# Keras imports TensorFlow, which reads once what `backend` asks for.
import keras
import numpy as np

from pipeline.engine.backend import Kind, State
from pipeline.engine.checks import check_engine, check_finite, check_members, check_output
from pipeline.engine.losses import objective
from pipeline.engine.mixup import quantiles
from pipeline.engine.optimizers import MOMENTUM
from pipeline.engine.population import Both, Population
from pipeline.engine.program import (
    CURVES,
    EVALUATION_ROWS,
    WATCHING,
    Program,
    Shape,
    validated,
)
from pipeline.engine.values import Checkpoint, Member, Trained, Training

__all__ = ["Checkpoint", "Engine", "Member", "Trained", "Training"]

# Multiply-adds of one step of one member up to which XLA's fused loops beat oneDNN's products.
# Measured: circles (0.05 M) and digits (0.8 M) are three times faster in XLA, Fashion-MNIST's
# network (6 M) takes 0.85 of the graph's time; from 20 M on XLA takes as long or longer.
XLA_LIMIT = 2e7
# Multiply-adds up to which members share a program, penalised and unpenalised ones alike. Beyond
# it they crowd each other out of the cache, and training takes much longer than compiling.
SHARED_LIMIT = 3e6
# Layers that train in the graph whatever their size. In XLA a convolution of 16 filters takes four
# times as long; a small LSTM takes a third, but seconds to compile for every few time steps.
GRAPH_LAYERS = (keras.layers.Conv2D, keras.layers.LSTM)
# Four to eight members fit a core's cache; ten and thirty seeds fill programs of five exactly.
XLA_POPULATION = 5
GPU_POPULATION = 30  # a GPU has no such cache, and small members leave it idle; not measured
# Copies of a member's weights in a program: weights, gradients, two optimizer slots, the best
# weights, and the new values of all these while the old ones are still read.
COPIES_OF_WEIGHTS = 9
COPIES_OF_ACTIVATIONS = 4  # values, their gradients, noise, and temporary values


def batch_order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """(rows,) the order in which a member with this seed sees its examples; epochs from 0."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def noise_key(seed: int) -> np.ndarray:
    """(2,) uint32, the key of a member's noise."""
    return np.random.default_rng([seed, 0x6E6F6973]).integers(2**32, size=2, dtype=np.uint32)


def member_bytes(model: keras.Sequential, rows: int) -> int:
    """About the bytes of a member in a program that evaluates `rows` examples at once."""
    weights = sum(int(np.prod(weight.shape)) for weight in model.weights)
    shapes = [model.input_shape, *(layer.output.shape for layer in model.layers)]
    activations = rows * sum(int(np.prod(shape[1:])) for shape in shapes)
    return 4 * (COPIES_OF_WEIGHTS * weights + COPIES_OF_ACTIVATIONS * activations)


def work_per_step(model: keras.Sequential, batch_size: int) -> int:
    """Multiply-adds of the matrix products and convolutions in a forward pass over a batch."""
    return batch_size * sum(
        _positions(layer) * sum(int(np.prod(w.shape)) for w in layer.weights if len(w.shape) > 1)
        for layer in model.layers
    )


def _positions(layer: keras.Layer) -> int:
    """How often a layer applies its kernels to one example: once per pixel or time step."""
    if isinstance(layer, keras.layers.LSTM):
        return int(layer.input.shape[1])
    return int(np.prod(layer.output.shape[1:-1]))


def _small(model: keras.Sequential, batch_size: int) -> bool:
    return work_per_step(model, batch_size) <= SHARED_LIMIT


class Engine:
    """Trains populations, and keeps each compiled program for later calls.

    Args:
        program: "xla", "graph", or "auto": by the model's layers and size (see XLA_LIMIT).
        population: members in one XLA program, or "auto": on a core 5, or 1 if the model is above
            SHARED_LIMIT; on a GPU 30, or as many as fit into `memory`. Graph programs have one.
        memory: bytes that a population may take; None: no bound.

    Raises ValueError for other values.
    """

    def __init__(
        self,
        program: Literal["auto", "xla", "graph"] = "auto",
        population: int | Literal["auto"] = "auto",
        memory: int | None = None,
    ) -> None:
        check_engine(program, population, memory)
        self._program, self._population, self._memory = program, population, memory
        self._programs: dict[tuple[str, Shape], Program] = {}
        self._data: tuple[np.ndarray, np.ndarray, dict[str, Any]] | None = None

    @property
    def traces(self) -> int:
        """The number of programs compiled so far."""
        return sum(program.traces for program in self._programs.values())

    def kind(self, model: keras.Sequential, batch_size: int) -> Kind:
        """The kind of program that trains this model."""
        if self._program != "auto":
            return self._program
        if any(isinstance(layer, GRAPH_LAYERS) for layer in model.layers):
            return "graph"
        return "xla" if work_per_step(model, batch_size) <= XLA_LIMIT else "graph"

    def population(self, member: Member, training: Training) -> int:
        """The number of members like this one that a program trains at once."""
        if self.kind(member.model, training.batch_size) == "graph":
            return 1
        if self._population != "auto":
            return self._population
        on_core = XLA_POPULATION if _small(member.model, training.batch_size) else 1
        size = GPU_POPULATION if backend.on_gpu() else on_core
        if self._memory is None:
            return size
        rows = max(training.batch_size, min(len(member.val_rows), EVALUATION_ROWS))
        return max(1, min(size, self._memory // member_bytes(member.model, rows)))

    def train(
        self,
        members: Sequence[Member],
        training: Training,
        x: np.ndarray,
        y: np.ndarray,
        on_chunk: Callable[[int], None] = lambda epochs: None,
    ) -> list[Trained]:
        """Trains members that share one structure, each on its own examples.

        Results do not depend on which members share a call.

        Args:
            members: differ in hyperparameters, weights, seeds and examples alone.
            training: what they share.
            x: (N, ...) float32, finite. y: (N,) integers in [0, n_classes), or float32
                of a regression. Both are kept as tensors for the next call on the same arrays, and
                must not change their content.
            on_chunk: is called with the number of epochs trained so far.

        Raises ValueError if the models differ in structure, for an output of another shape than its
        target, and for arrays, indices or hyperparameters that do not fit the models, the data or
        the training; see `checks`.

        >>> from pipeline.engine import Engine, Member, Training
        >>> import keras, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(80, 2)).astype("float32")
        >>> y = (x[:, 0] > 0).astype("int32")
        >>> train_rows, val_rows = np.split(np.arange(80, dtype="int32"), [60])
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
        >>> members = [
        ...     Member(model, model.get_weights(), learning_rate, train_rows, val_rows, seed=0)
        ...     for learning_rate in (0.01, 0.1)
        ... ]
        >>> training = Training("adam", batch_size=20, epochs=5, n_classes=2)
        >>> slow, fast = Engine().train(members, training, x, y)
        >>> fast.curves["val_loss"].shape
        (5,)
        >>> bool(fast.curves["val_loss"][-1] < slow.curves["val_loss"][-1])
        True
        """
        check_members(members, training, x, y)
        size = self.population(members[0], training)
        groups = [members[i : i + size] for i in range(0, len(members), size)]
        return [
            trained
            for group in groups
            for trained in self._train_group(group, training, x, y, on_chunk)
        ]

    def _train_group(
        self,
        members: Sequence[Member],
        training: Training,
        x: np.ndarray,
        y: np.ndarray,
        on_chunk: Callable[[int], None],
    ) -> Iterator[Trained]:
        began = time.perf_counter()
        program = self._compiled(members, training)
        # A program trains a fixed number of members; copies of the last one fill it up.
        size = program.shape.members
        filled = [*members, *[members[-1]] * (size - len(members))]
        state, curves, seconds_before = _start(filled, program)
        inputs = self._rows(x, y) | _inputs(filled, program)
        chunks, done = [curves], len(curves)
        while done < training.epochs and np.any(state["active"]):
            count = min(program.shape.epochs_per_call, training.epochs - done)
            inputs["count"] = np.int32(count)
            inputs |= _train_rows(filled, program.shape, done)
            state, curves = program.advance(state, inputs)
            chunks.append(np.asarray(curves)[:count])
            done += count
            on_chunk(done)
        seconds = (time.perf_counter() - began) / size
        chunks.append(np.zeros((training.epochs - done, *curves.shape[1:]), np.float32))
        curves = np.concatenate(chunks)
        for index in range(len(members)):
            spent = seconds_before[index] + seconds
            trained = _trained(state, curves, index, spent, program.objective.curves)
            if training.resumable:
                checkpoint = Checkpoint(program.member(state, index), curves[..., index], spent)
                trained = replace(trained, checkpoint=checkpoint)
            yield trained

    def _rows(self, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        """The data as tensors, made once for successive calls on the same arrays."""
        if self._data is None or self._data[0] is not x or self._data[1] is not y:
            check_finite(x, y)
            arrays = {"x": x, "y": y if y.dtype == np.float32 else np.asarray(y, np.int32)}
            self._data = x, y, _tensors(arrays)
        return self._data[2]

    def program_name(self, members: Sequence[Member], training: Training) -> str:
        """Equal for calls that share a compiled program."""
        return repr(self._identify(members, training)[1:])

    def _compiled(self, members: Sequence[Member], training: Training) -> Program:
        """The program for these members, made on its first use."""
        population, signature, shape = self._identify(members, training)
        if (signature, shape) not in self._programs:
            self._programs[signature, shape] = Program(population, shape)
        return self._programs[signature, shape]

    def _identify(
        self, members: Sequence[Member], training: Training
    ) -> tuple[Population, str, Shape]:
        """The members' population, its signature and the shape of its program."""
        kind = self.kind(members[0].model, training.batch_size)
        models = {id(member.model): member.model for member in members}.values()
        aim = objective(training.n_classes, training.regression)
        shared: Both = "all" if _small(members[0].model, training.batch_size) else "penalised"
        both: Both = "none" if kind == "graph" else shared
        populations = [Population(model, both, aim.activation) for model in models]
        signatures = {population.signature for population in populations}
        if len(signatures) > 1:
            raise ValueError(f"`members` must share one structure, but got {sorted(signatures)}")
        check_output(members[0].model, aim)
        shape = Shape(
            members=self.population(members[0], training),
            train_rows=len(members[0].train_rows),
            val_rows=len(members[0].val_rows),
            batch_size=min(training.batch_size, len(members[0].train_rows)),
            n_classes=training.n_classes,
            regression=training.regression,
            optimizer=MOMENTUM if training.momentum else training.optimizer,
            monitor=training.monitor,
            averaging=training.averaging,
            smoothed=training.smoothed,
            start_from_epoch=training.start_from_epoch,
            restart_after=training.restart_after,
            kernel_steps=training.kernel_steps,
            mixup=training.mixup,
            weighted=training.weighted,
            class_weighted=training.class_weighted,
            kind=kind,
        )
        return populations[0], signatures.pop(), shape


def _start(
    members: Sequence[Member], program: Program
) -> tuple[State, np.ndarray, Sequence[float]]:
    """The state to start or resume from, its (epochs, CURVES, P) curves, and its seconds."""
    given = [member.checkpoint for member in members if member.checkpoint is not None]
    usable = [_usable(checkpoint, program) for checkpoint in given]
    checkpoints = [checkpoint for checkpoint in usable if checkpoint is not None]
    same_epochs = len({checkpoint.epochs for checkpoint in checkpoints}) == 1
    if same_epochs and len(checkpoints) == len(members):
        curves = np.stack([checkpoint.curves for checkpoint in checkpoints], axis=-1)
        state = program.resume([checkpoint.state for checkpoint in checkpoints], len(curves))
        return state, curves, [checkpoint.seconds for checkpoint in checkpoints]
    weights = [np.stack(w) for w in zip(*(member.weights for member in members), strict=True)]
    curves = np.zeros((0, len(CURVES), len(members)), np.float32)
    return program.start(weights), curves, [0.0] * len(members)


def _usable(checkpoint: Checkpoint, program: Program) -> Checkpoint | None:
    """The part of a checkpoint that the program can resume from; None if it must start anew.

    Trainings that differ in early stopping alone are identical until one of them stops. Graph
    programs compute the same values whatever else they contain; XLA may fuse differently.
    """
    watched, shape = "best" in checkpoint.state, program.shape
    if watched == (shape.monitor is not None) and not shape.start_from_epoch:
        return checkpoint
    epochs = int(checkpoint.state["epochs"][0]) if watched else checkpoint.epochs
    looks = shape.monitor is not None and epochs > shape.start_from_epoch
    if shape.kind == "xla" or looks:
        return None
    state = {name: arrays for name, arrays in checkpoint.state.items() if name not in WATCHING}
    active = np.array(state["diverged"][0] == 0)
    return replace(
        checkpoint, state=state | {"active": [active]}, curves=checkpoint.curves[:epochs]
    )


def _inputs(members: Sequence[Member], program: Program) -> dict[str, Any]:
    """The program's inputs, as tensors, that stay the same in all chunks; without the data."""
    hyperparameters = [program.population.hyperparameters(member.model) for member in members]
    arrays = {
        "val": np.stack([member.val_rows for member in members]).astype(np.int32),
        "hyperparameters": np.stack(hyperparameters, axis=1),
        "learning_rate": np.array([member.learning_rate for member in members], np.float32),
        "patience": np.array([member.patience for member in members], np.int32),
        "key": np.stack([noise_key(member.seed) for member in members]),
    }
    if program.shape.regression:
        for name in ("target_mean", "target_scale"):
            arrays[name] = np.array([getattr(member, name) for member in members], np.float32)
    if program.shape.optimizer == MOMENTUM:
        arrays["momentum"] = np.array([member.momentum for member in members], np.float32)
    if program.shape.averaging == "steps":
        arrays["decay"] = np.array([member.decay for member in members], np.float32)
    if program.shape.averaging == "epochs":
        arrays["average_after"] = np.array([member.average_after for member in members], np.int32)
    if program.shape.smoothed:
        arrays["smoothing"] = np.array([member.label_smoothing for member in members], np.float32)
    for step, _ in program.shape.kernel_steps:
        strengths = [member.kernel_steps[step.name] for member in members]
        arrays[f"step.{step.name}"] = np.array(strengths, np.float32)
    if program.shape.mixup:
        arrays["mixup"] = np.stack([quantiles(member.mixup) for member in members])
    if program.shape.weighted:
        arrays["val_weights"] = np.stack([_floats(member.val_weights) for member in members])
    if program.shape.class_weighted:
        arrays["class_weights"] = np.stack([_floats(member.class_weights) for member in members])
    return _tensors(arrays)


def _floats(weights: np.ndarray | None) -> np.ndarray:
    return np.asarray(weights, np.float32)


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: keras.ops.convert_to_tensor(array) for name, array in arrays.items()}


def _train_rows(members: Sequence[Member], shape: Shape, first_epoch: int) -> dict[str, np.ndarray]:
    """Indices of the examples in the order in which each member sees them, and their weights.

    `train`: (epochs, P, n) int32; `train_weights`: the same of float32, if there are any.
    """
    kept = slice(None)
    orders: list[list[Any]] = [[kept] * len(members)]
    if not shape.one_batch:
        epochs = range(first_epoch, first_epoch + shape.epochs_per_call)
        orders = [
            [batch_order(member.seed, epoch, shape.train_rows) for member in members]
            for epoch in epochs
        ]

    def ordered(arrays: list[np.ndarray], kind: type) -> np.ndarray:
        by_epoch = [
            [array[order] for array, order in zip(arrays, of_epoch, strict=True)]
            for of_epoch in orders
        ]
        return np.array(by_epoch, kind)

    rows = {"train": ordered([member.train_rows for member in members], np.int32)}
    if shape.weighted:
        weights = [_floats(member.train_weights) for member in members]
        rows["train_weights"] = ordered(weights, np.float32)
    return rows


def _trained(
    state: State, curves: np.ndarray, index: int, seconds: float, names: Collection[str]
) -> Trained:
    """One member of the last state, with these of its (epochs, CURVES, P) curves."""
    epochs = int(state["epochs"][index])
    diverged = int(state["diverged"][index])
    stopping = "best" in state
    weights = state["best"] if stopping else validated(state)
    return Trained(
        weights=[np.array(weight[index]) for weight in weights],
        curves={
            name: curves[:epochs, curve, index].copy()
            for curve, name in enumerate(CURVES)
            if name in names
        },
        epochs_run=epochs,
        best_epoch=int(state["best_epoch"][index]) if stopping else None,
        diverged=diverged or None,
        seconds=seconds,
    )
