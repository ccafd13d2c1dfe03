"""Trains populations of ordinary Keras models in compiled programs.

`Engine.train` takes members (a Keras model, initial weights, a seed, rows of a data set) and gives
back their weights and curves, as `model.fit` would from the same weights, batch order and noise.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.engine import backend

# isort: split
# Keras imports TensorFlow, which reads once what `backend` asks for.
import keras
import numpy as np

from pipeline.engine.backend import Kind, State
from pipeline.engine.losses import objective
from pipeline.engine.mixup import quantiles
from pipeline.engine.optimizers import KernelStep
from pipeline.engine.population import Both, Population
from pipeline.engine.program import (
    CURVES,
    EVALUATION_ROWS,
    WATCHING,
    Averaging,
    Monitor,
    Program,
    Shape,
    validated,
)

# Multiply-adds of one step of one member up to which XLA's fused loops beat oneDNN's products.
# Measured: circles (0.05 M) and digits (0.8 M) are three times faster in XLA, Fashion-MNIST's
# network (6 M) takes 0.85 of the graph's time; from 20 M on XLA takes as long or longer.
XLA_LIMIT = 2e7
# Up to which members share a program, and penalised ones that with unpenalised ones. Beyond it
# they crowd each other out of the cache, and training is long beside compiling.
SHARED_LIMIT = 3e6
# Layers that train in the graph whatever their size. A convolution of 16 filters takes XLA four
# times as long; a small LSTM a third, but seconds to compile for every few time steps.
GRAPH_LAYERS = (keras.layers.Conv2D, keras.layers.LSTM)
# Four to eight members fit a core's cache; ten and thirty seeds fill programs of five exactly.
XLA_POPULATION = 5
GPU_POPULATION = 30  # a GPU has no such cache, and small members leave it idle; not measured
# What a program holds beside a member's weights: gradients, two optimizer slots, the best weights,
# and the new values of all these while the old ones are still read.
COPIES_OF_WEIGHTS = 9
COPIES_OF_ACTIVATIONS = 4  # values, their gradients, noise, and what is being computed


@dataclass(frozen=True)
class Training:
    """What all members of a call share."""

    optimizer: Literal["adam", "sgd"]
    batch_size: int
    epochs: int
    n_classes: int | None  # 2: one sigmoid unit; more: a softmax; None: rows are reproduced
    monitor: Monitor | None = None  # early stopping on this, with each member's patience
    start_from_epoch: int = 0  # early stopping looks at none before it; from 0, as in Keras
    resumable: bool = False  # give checkpoints back
    averaging: Averaging | None = None  # validate and keep an average of the weights
    smoothed: bool = False  # train on labels with each member's smoothing
    # In this order, each with the places in `model.weights` that take it.
    kernel_steps: tuple[tuple[KernelStep, tuple[int, ...]], ...] = ()
    mixup: bool = False  # with each member's alpha; train curves are then of the mixtures


@dataclass(frozen=True)
class Checkpoint:
    """Where a member stood; training that goes on from here gives the bits of one that never stood.

    `state`: of this member, entry of the program's state -> its arrays. `curves`: (epochs, CURVES)
    float32. `seconds`: of the training so far.
    """

    state: Mapping[str, Sequence[np.ndarray]]
    curves: np.ndarray
    seconds: float

    @property
    def epochs(self) -> int:
        """The epochs behind it, those after an early stop included."""
        return len(self.curves)


@dataclass(frozen=True)
class Member:
    """One model to train.

    `weights`: initial values in the order of `model.weights`; the model itself is only read.
    `train_rows` (n,) and `val_rows` (m,): int32 rows of the data. `seed` decides batch order
    and noise. `patience`: epochs, for early stopping. `label_smoothing`: share in [0, 1) of each
    label that is spread over the classes, as Keras's losses do. `decay`: of an average over steps.
    `average_after`: epochs before the first that an average over epochs holds. `kernel_steps`:
    name → strength >= 0 of each of the training's kernel steps, which are not in the loss, nor in
    the penalty's curve. `mixup`: alpha >= 0, if the training has it; 0 mixes nothing.
    `checkpoint`: of an earlier call with the same training and no more epochs; in graph programs
    early stopping may differ, if this training's looks at no epoch before the checkpoint. It is
    gone on from if all members of a program have one of as many epochs.
    """

    model: keras.Sequential
    weights: Sequence[np.ndarray]
    learning_rate: float
    train_rows: np.ndarray
    val_rows: np.ndarray
    seed: int
    patience: int = 0
    label_smoothing: float = 0.0
    decay: float = 0.0
    average_after: int = 0
    kernel_steps: Mapping[str, float] = field(default_factory=dict)
    mixup: float = 0.0
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class Trained:
    """What became of a member.

    `weights`, or their average: after the last epoch; with early stopping, after the best one; of a
    member that diverged, before the epoch in which it did. `curves`: name → (epochs_run,) float32;
    losses are unpenalised and those of the labels as they are; a reconstruction has no accuracies;
    train values are means over the epoch's batches as in `fit`, of the weights as they are trained;
    validation is of those to keep.
    `diverged`: the epoch in which a loss was not finite, from 1, or None. `seconds`: its share of
    this call's wall time, compilation included, and of the calls that it goes on from.
    """

    weights: list[np.ndarray]
    curves: dict[str, np.ndarray]
    epochs_run: int
    best_epoch: int | None
    diverged: int | None
    seconds: float
    checkpoint: Checkpoint | None = None


def batch_order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """(rows,) the order in which a member with this seed sees its rows in an epoch, from 0."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def noise_key(seed: int) -> np.ndarray:
    """(2,) uint32, the key of a member's noise."""
    return np.random.default_rng([seed, 0x6E6F6973]).integers(2**32, size=2, dtype=np.uint32)


def member_bytes(model: keras.Sequential, rows: int) -> int:
    """The memory that a member takes in a program that evaluates `rows` rows at once, about."""
    weights = sum(int(np.prod(weight.shape)) for weight in model.weights)
    shapes = [model.input_shape, *(layer.output.shape for layer in model.layers)]
    activations = rows * sum(int(np.prod(shape[1:])) for shape in shapes)
    return 4 * (COPIES_OF_WEIGHTS * weights + COPIES_OF_ACTIVATIONS * activations)


def work_per_step(model: keras.Sequential, batch_size: int) -> int:
    """Multiply-adds of the products and convolutions of one forward pass over a batch."""
    return batch_size * sum(
        _places(layer) * sum(int(np.prod(w.shape)) for w in layer.weights if len(w.shape) > 1)
        for layer in model.layers
    )


def _places(layer: keras.Layer) -> int:
    """How often a layer applies its kernels to one row: once a pixel or a time step."""
    if isinstance(layer, keras.layers.LSTM):
        return int(layer.input.shape[1])
    return int(np.prod(layer.output.shape[1:-1]))


def _small(model: keras.Sequential, batch_size: int) -> bool:
    return work_per_step(model, batch_size) <= SHARED_LIMIT


class Engine:
    """Keeps compiled programs, so that each is compiled once however many calls use it.

    Args:
        program: "xla", "graph", or "auto" for the rule above.
        population: members in one XLA program, or "auto": on a core 5 small ones or one above
            SHARED_LIMIT, on a GPU 30, or as many as `memory` holds. Graph programs have one.
        memory: bytes that a population may take, or None for no bound.
    """

    def __init__(
        self,
        program: Literal["auto", "xla", "graph"] = "auto",
        population: int | Literal["auto"] = "auto",
        memory: int | None = None,
    ) -> None:
        self._program, self._population, self._memory = program, population, memory
        self._programs: dict[tuple[str, Shape], Program] = {}
        self._data: tuple[np.ndarray, np.ndarray, dict[str, Any]] | None = None

    @property
    def traces(self) -> int:
        """How many programs have been compiled."""
        return sum(program.traces for program in self._programs.values())

    def kind(self, model: keras.Sequential, batch_size: int) -> Kind:
        """Which kind of program trains this model."""
        if self._program != "auto":
            return self._program
        if any(isinstance(layer, GRAPH_LAYERS) for layer in model.layers):
            return "graph"
        return "xla" if work_per_step(model, batch_size) <= XLA_LIMIT else "graph"

    def population(self, member: Member, training: Training) -> int:
        """How many members like this one a program trains at once."""
        if self.kind(member.model, training.batch_size) == "graph":
            return 1
        if self._population != "auto":
            return self._population
        on_core = XLA_POPULATION if _small(member.model, training.batch_size) else 1
        wanted = GPU_POPULATION if backend.on_gpu() else on_core
        if self._memory is None:
            return wanted
        rows = max(training.batch_size, min(len(member.val_rows), EVALUATION_ROWS))
        return max(1, min(wanted, self._memory // member_bytes(member.model, rows)))

    def train(
        self,
        members: Sequence[Member],
        training: Training,
        x: np.ndarray,
        y: np.ndarray,
        on_chunk: Callable[[int], None] = lambda epochs: None,
    ) -> list[Trained]:
        """Trains members of one structure on rows of x (N, ...) float32 and y (N,) int32.

        Results do not depend on which members share a call. `on_chunk` is told the epochs done.
        The arrays of the last call are kept as tensors and must not change their content.
        Raises ValueError where the models differ in more than numbers, and for rows and numbers
        that do not fit the data or the training.
        """
        _check(members, training, x, y)
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
        # A program has a fixed number of places; copies fill those that are free.
        size = program.shape.members
        places = [*members, *[members[-1]] * (size - len(members))]
        state, curves, before = _start(places, program)
        inputs = self._rows(x, y) | _inputs(places, program)
        chunks, done = [curves], len(curves)
        while done < training.epochs and np.any(state["active"]):
            count = min(program.shape.epochs_per_call, training.epochs - done)
            inputs["count"] = np.int32(count)
            inputs["train"] = _train_rows(places, program.shape, done)
            state, curves = program.advance(state, inputs)
            chunks.append(np.asarray(curves)[:count])
            done += count
            on_chunk(done)
        seconds = (time.perf_counter() - began) / size
        chunks.append(np.zeros((training.epochs - done, *curves.shape[1:]), np.float32))
        curves = np.concatenate(chunks)
        for place in range(len(members)):
            spent = before[place] + seconds
            found = _trained(state, curves, place, spent, program.objective.curves)
            if training.resumable:
                checkpoint = Checkpoint(program.member(state, place), curves[..., place], spent)
                found = replace(found, checkpoint=checkpoint)
            yield found

    def _rows(self, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        """The data as tensors, which are made once for the calls on the same arrays."""
        if self._data is None or self._data[0] is not x or self._data[1] is not y:
            arrays = {"x": np.asarray(x, np.float32), "y": np.asarray(y, np.int32)}
            self._data = x, y, _tensors(arrays)
        return self._data[2]

    def program_name(self, members: Sequence[Member], training: Training) -> str:
        """Equal for calls that share a compiled program."""
        return repr(self._identify(members, training)[1:])

    def _compiled(self, members: Sequence[Member], training: Training) -> Program:
        """The program for these members, made if it is not there yet."""
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
        activation = objective(training.n_classes).activation
        shared: Both = "all" if _small(members[0].model, training.batch_size) else "penalised"
        both: Both = "none" if kind == "graph" else shared
        populations = [Population(model, both, activation) for model in models]
        signatures = {population.signature for population in populations}
        if len(signatures) > 1:
            raise ValueError(f"`members` must share one structure, but got {sorted(signatures)}")
        shape = Shape(
            members=self.population(members[0], training),
            train_rows=len(members[0].train_rows),
            val_rows=len(members[0].val_rows),
            batch_size=min(training.batch_size, len(members[0].train_rows)),
            n_classes=training.n_classes,
            optimizer=training.optimizer,
            monitor=training.monitor,
            averaging=training.averaging,
            smoothed=training.smoothed,
            start_from_epoch=training.start_from_epoch,
            kernel_steps=training.kernel_steps,
            mixup=training.mixup,
            kind=kind,
        )
        return populations[0], signatures.pop(), shape


def _check(members: Sequence[Member], training: Training, x: np.ndarray, y: np.ndarray) -> None:
    """Raises ValueError for what a compiled program would not notice, or only deep inside."""
    if not members:
        raise ValueError("`members` must hold one member at least, but is empty")
    if len(x) != len(y):
        raise ValueError(f"`x` and `y` must have equally many rows, but have {len(x)} and {len(y)}")
    steps = {step.name for step, _ in training.kernel_steps}
    for place, member in enumerate(members):
        for name in ("train_rows", "val_rows"):
            rows, first = np.asarray(getattr(member, name)), getattr(members[0], name)
            where = f"members[{place}].{name}"
            if not len(rows) or len(rows) != len(first):
                raise ValueError(
                    f"{where}: expected {len(first) or 'some'} rows, as many as members[0] has, "
                    f"but got {len(rows)}"
                )
            if rows.min() < 0 or rows.max() >= len(x):
                raise ValueError(
                    f"{where}: expected rows of `x`, from 0 to {len(x) - 1}, but got "
                    f"{rows.min()} to {rows.max()}"
                )
        if not steps <= member.kernel_steps.keys():
            raise ValueError(
                f"members[{place}].kernel_steps: expected a strength of each of {sorted(steps)}, "
                f"as the training has them, but got {sorted(member.kernel_steps)}"
            )


def _start(
    members: Sequence[Member], program: Program
) -> tuple[State, np.ndarray, Sequence[float]]:
    """The state to go on from, the (epochs, CURVES, P) curves that led to it, and the seconds."""
    given = [member.checkpoint for member in members if member.checkpoint is not None]
    found = [each for each in (_usable(one, program) for one in given) if each is not None]
    if len(found) == len(members) and len({each.epochs for each in found}) == 1:
        curves = np.stack([each.curves for each in found], axis=-1)
        state = program.resume([each.state for each in found], len(curves))
        return state, curves, [each.seconds for each in found]
    weights = [np.stack(w) for w in zip(*(member.weights for member in members), strict=True)]
    curves = np.zeros((0, len(CURVES), len(members)), np.float32)
    return program.start(weights), curves, [0.0] * len(members)


def _usable(checkpoint: Checkpoint, program: Program) -> Checkpoint | None:
    """What of a checkpoint the program can go on from; None where it must start anew.

    Two trainings that differ in early stopping alone are one until it ends the first of them.
    Graph programs compute the same whatever else they hold; XLA may fuse differently.
    """
    watched, shape = "best" in checkpoint.state, program.shape
    if watched == (shape.monitor is not None) and not shape.start_from_epoch:
        return checkpoint
    epochs = int(checkpoint.state["epochs"][0]) if watched else checkpoint.epochs
    looks = shape.monitor is not None and epochs > shape.start_from_epoch
    if shape.kind == "xla" or looks:
        return None
    state = {name: a for name, a in checkpoint.state.items() if name not in WATCHING}
    active = np.array(state["diverged"][0] == 0)
    return replace(
        checkpoint, state=state | {"active": [active]}, curves=checkpoint.curves[:epochs]
    )


def _inputs(members: Sequence[Member], program: Program) -> dict[str, Any]:
    """The program's inputs beside the data that stay the same from chunk to chunk, as tensors."""
    numbers = np.stack([program.population.numbers(member.model) for member in members], axis=1)
    arrays = {
        "val": np.stack([member.val_rows for member in members]).astype(np.int32),
        "numbers": numbers,
        "learning_rate": np.array([member.learning_rate for member in members], np.float32),
        "patience": np.array([member.patience for member in members], np.int32),
        "key": np.stack([noise_key(member.seed) for member in members]),
    }
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
    return _tensors(arrays)


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: keras.ops.convert_to_tensor(array) for name, array in arrays.items()}


def _train_rows(members: Sequence[Member], shape: Shape, first_epoch: int) -> np.ndarray:
    """(epochs, P, n) int32: the rows in the order in which each member sees them."""
    if shape.one_batch:
        return np.stack([member.train_rows for member in members])[None].astype(np.int32)
    epochs = range(first_epoch, first_epoch + shape.epochs_per_call)
    order = [
        [m.train_rows[batch_order(m.seed, epoch, shape.train_rows)] for m in members]
        for epoch in epochs
    ]
    return np.array(order, np.int32)


def _trained(
    state: State, curves: np.ndarray, place: int, seconds: float, names: Collection[str]
) -> Trained:
    """One member's part of the last state and, of these names, of (epochs, CURVES, P) curves."""
    epochs = int(state["epochs"][place])
    diverged = int(state["diverged"][place])
    stopping = "best" in state
    weights = state["best"] if stopping else validated(state)
    return Trained(
        weights=[np.array(weight[place]) for weight in weights],
        curves={
            name: curves[:epochs, i, place].copy() for i, name in enumerate(CURVES) if name in names
        },
        epochs_run=epochs,
        best_epoch=int(state["best_epoch"][place]) if stopping else None,
        diverged=diverged or None,
        seconds=seconds,
    )
