"""A population's whole training as one compiled program: steps, validation, stopping."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from pipeline.engine import backend, mixup
from pipeline.engine.backend import Kind, PerWeight, State, Tensor
from pipeline.engine.losses import objective
from pipeline.engine.noise import Noise
from pipeline.engine.optimizers import OPTIMIZERS, KernelStep, Step, max_norm, per_member
from pipeline.engine.population import Population

CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "penalty")
EVALUATION_ROWS = 2048  # examples at once: enough for oneDNN's peak, few enough for the cache
WATCHING = (
    "best",
    "best_value",
    "best_epoch",
    "wait",
)  # entries that early stopping adds to a state
STEPS_PER_CALL = 500  # training steps between looks at progress and at Ctrl-C

Averaging = Literal["steps", "epochs"]
Monitor = Literal["val_loss", "val_accuracy"]
Rows = tuple[Tensor, Tensor | None]  # indices of examples and their weights, (P, n) each
Batch = tuple[Tensor, Tensor, Tensor | None]  # examples, targets and weights


@dataclass(frozen=True)
class Shape:
    """What decides a program, beside the population's structure. All sizes are counts."""

    members: int
    train_rows: int
    val_rows: int
    batch_size: int
    n_classes: int | None  # None: regression or reconstruction
    regression: bool
    optimizer: str
    monitor: Monitor | None  # None: train to the last epoch
    averaging: Averaging | None  # of the weights, exponential over steps or equal over epochs
    smoothed: bool  # whether training labels are smoothed
    start_from_epoch: int  # early stopping ignores earlier epochs; from 0
    restart_after: int  # epochs before the optimizer starts anew; 0: it never does
    kernel_steps: tuple[tuple[KernelStep, tuple[int, ...]], ...]  # and indices of the weights
    mixup: bool  # whether training examples and labels are mixed
    weighted: bool  # whether examples have weights
    class_weighted: bool  # whether classes have weights in training
    kind: Kind

    @property
    def steps(self) -> int:
        """Full batches per epoch."""
        return self.train_rows // self.batch_size

    @property
    def remainder(self) -> int:
        """Examples in the last, smaller batch; 0 if there is none."""
        return self.train_rows % self.batch_size

    @property
    def updates(self) -> int:
        """Batches per epoch, a smaller one included."""
        return self.steps + (self.remainder > 0)

    @property
    def epochs_per_call(self) -> int:
        """The most epochs that one call of the program trains."""
        return max(1, STEPS_PER_CALL // max(1, self.steps))

    @property
    def one_batch(self) -> bool:
        """Whether an epoch is one step, so that the order of examples does not matter."""
        return self.train_rows <= self.batch_size


class Program:
    """A compiled program; `traces`: how often it was compiled."""

    def __init__(self, population: Population, shape: Shape) -> None:
        self.population, self.shape = population, shape
        self.optimizer = OPTIMIZERS[shape.optimizer]
        self.objective = objective(shape.n_classes, shape.regression)
        self._restart = shape.restart_after * shape.updates  # the steps before it
        in_place = shape.kind == "graph" and shape.members == 1
        self._held = self._make_held() if in_place else None
        self._train = backend.apart(self._step) if shape.kind == "graph" else self._step
        self.traces = 0
        self.advance = backend.compiled(self._advance, shape.kind)

    def _make_held(self) -> backend.Held:
        shapes = [weight.shape for weight in self.population.model.weights]
        return backend.Held(shapes, self.population.trained, self.optimizer.slots)

    def start(self, weights: list[np.ndarray]) -> State:
        """The state before the first epoch; weights: (P, ...) each, in Keras's order."""
        members = self.shape.members
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        state = {
            "weights": tensors,
            "slots": [
                [ops.zeros_like(tensors[index]) for index in self.population.trained]
                for _ in range(self.optimizer.slots)
            ],
            "step": ops.zeros((), "uint32"),
            "epochs": ops.zeros((members,), "int32"),  # trained by each member
            "diverged": ops.zeros((members,), "int32"),  # epoch of divergence, 0: none
            "active": ops.ones((members,), "bool"),
        }
        if self.shape.averaging is not None:
            state["average"] = tensors
        if self.shape.monitor is not None:
            state |= {
                "best": tensors,
                "best_value": ops.full((members,), -np.inf, "float32"),
                "best_epoch": ops.zeros((members,), "int32"),
                "wait": ops.zeros((members,), "int32"),
            }
        return state

    def resume(self, members: Sequence[Mapping[str, Sequence[np.ndarray]]], epochs: int) -> State:
        """The state after `epochs`, from the state of each member as returned by `member`.

        Early stopping that had not begun by then starts from the current weights.
        """
        state = self.start(
            [
                np.zeros((self.shape.members, *weight.shape), np.float32)
                for weight in self.population.model.weights
            ]
        )
        state["step"] = ops.cast(epochs * self.shape.updates, "uint32")
        for name in state.keys() & members[0].keys():
            arrays = zip(*(member[name] for member in members), strict=True)
            tensors = [ops.convert_to_tensor(np.stack(of_members)) for of_members in arrays]
            state[name] = keras.tree.pack_sequence_as(state[name], tensors)
        if self.shape.monitor is not None and "best" not in members[0]:
            finished = state["epochs"] - ops.cast(state["diverged"] > 0, "int32")
            state |= {"best": validated(state), "best_epoch": finished}
        return state

    def member(self, state: State, index: int) -> dict[str, list[np.ndarray]]:
        """One member's part of the state: entry → its arrays."""
        return {
            name: [np.array(array[index]) for array in keras.tree.flatten(value)]
            for name, value in state.items()
            if name != "step"  # which has no axis of members
        }

    def _advance(self, state: State, inputs: dict[str, Any]) -> tuple[State, Tensor]:
        """Trains up to `inputs["count"]` epochs; curves: (epochs_per_call, CURVES, P).

        `inputs`: count (); x (N, ...), y (N,); the indices train (epochs_per_call, P, n) or, for
        one batch, (1, P, n), and val (P, m), with the weights of these, train_weights and
        val_weights, if there are any; hyperparameters (slots, P); learning_rate, patience
        and, as the program needs them, momentum, decay, average_after, smoothing and the strengths
        of kernel steps, each (P,), as are target_mean and target_scale of a regression; key (P, 2);
        with mixup, its quantiles (P, STEPS + 1); class_weights (P, n_classes), if it has some.
        """
        self.traces += 1
        shape = self.shape
        val_rows = inputs["val"], inputs.get("val_weights")
        val = self._gather(inputs, val_rows) if shape.val_rows <= EVALUATION_ROWS else None
        whole = self._gather(inputs, _train_rows(inputs, 0)) if shape.one_batch else None

        def epoch(carry: State) -> tuple[State, Tensor]:
            index, state = carry
            rows = _train_rows(inputs, index) if whole is None else None
            new, train = self._epoch(state, rows, whole, inputs)
            if shape.averaging == "epochs":
                counted = ops.maximum(state["epochs"] + 1 - inputs["average_after"], 1)
                counted = ops.cast(counted, "float32")
                new["average"] = self._averaged(state, new["weights"], 1 / counted)
            loss, accuracy = self._validate(validated(new), inputs, val)
            curves = ops.stack([train[0], train[1], loss, accuracy, train[2]])
            return (index + 1, self._close(state, new, curves, inputs)), curves

        (_, state), curves = backend.scan(
            inputs["count"],
            shape.epochs_per_call,
            epoch,
            (ops.zeros((), "int32"), state),
            (len(CURVES), shape.members),
            alive=lambda carry: ops.any(carry[1]["active"]),
        )
        return state, curves

    def _gather(self, inputs: dict[str, Any], rows: Rows) -> Batch:
        """The examples with these indices, their targets and weights."""
        indices, weights = rows
        x, y = backend.rows(inputs["x"], indices), backend.rows(inputs["y"], indices)
        return x, self.objective.target(x, y, inputs), weights

    def _epoch(
        self,
        state: State,
        rows: Rows | None,
        whole: Batch | None,
        inputs: dict[str, Any],
    ) -> tuple[State, Tensor]:
        """One epoch over the examples (P, n) in order, or over all of them in one step.

        Returns the state and the means (3, P) of loss, accuracy and penalty.
        """
        if self.shape.restart_after:
            begins = state["step"] == self._restart
            slots = [[ops.where(begins, 0.0, one) for one in slot] for slot in state["slots"]]
            state = state | {"slots": slots}
        if self._held is not None:
            self._held.load(state["weights"], state["slots"])
            state = {name: state[name] for name in state.keys() - {"weights", "slots"}}
        if whole is not None:
            state, sums = self._train(state, whole, inputs)
        else:
            assert rows is not None, "an epoch has all examples in one step, or rows"
            state, sums = self._batches(state, rows, inputs)
        if self._held is not None:
            state |= {"weights": self._held.weights(), "slots": self._held.slots()}
        return state, sums / self.shape.train_rows

    def _batches(self, state: State, rows: Rows, inputs: dict[str, Any]) -> tuple[State, Tensor]:
        """Steps over the examples (P, n) in order; (3, P) sums over them."""
        size = self.shape.batch_size

        def body(i: Tensor, carry: State) -> State:
            state, sums = carry
            batch = self._part(rows, i, size)
            state, batch_sums = self._train(state, self._gather(inputs, batch), inputs)
            return state, sums + batch_sums

        carry = (state, ops.zeros((3, self.shape.members)))
        state, sums = backend.repeat(self.shape.steps, body, carry)
        if self.shape.remainder:
            rest = self._gather(inputs, _after(rows, self.shape.steps * size))
            state, batch_sums = self._train(state, rest, inputs)
            sums = sums + batch_sums
        return state, sums

    def _part(self, rows: Rows, i: Tensor, size: int) -> Rows:
        """The part i of these rows."""
        indices, weights = (
            None if each is None else ops.slice(each, (0, i * size), (self.shape.members, size))
            for each in rows
        )
        return indices, weights

    def _step(self, state: State, batch: Batch, inputs: dict[str, Any]) -> tuple[State, Tensor]:
        """One update; (3, P) sums over the batch of loss, accuracy and penalty."""
        x, y, of_rows = batch
        noise = Noise(inputs["key"], state["step"], self.shape.kind)
        mixing = mixup.draw(noise, inputs["mixup"], x.shape[1]) if self.shape.mixup else None
        if mixing is not None:
            x = mixing.mix(x, mixing.partner(x))

        weights = state["weights"] if self._held is None else self._held.weights()
        trained = self.population.trained

        def loss(values: Any) -> tuple[Tensor, tuple[Tensor, dict[int, Tensor]]]:
            outputs, penalty, moved = self.population.forward(
                _replaced(weights, zip(trained, values, strict=True)),
                x,
                inputs["hyperparameters"],
                noise,
            )
            losses, hits = self._scores(outputs, y, of_rows, mixing)
            mean, factors = ops.mean(losses, axis=1), of_rows
            curves = ops.stack([mean, ops.mean(hits, axis=1), penalty])
            if self.shape.class_weighted:
                of_classes = ops.take_along_axis(inputs["class_weights"], y, axis=1)
                factors = _weighted(of_classes, of_rows)
                losses, _ = self._scores(outputs, y, factors, mixing)
                mean = ops.mean(losses, axis=1)
            if self.shape.smoothed:
                uniform = _weighted(self.objective.uniform_loss(outputs), factors)
                mean = mean + inputs["smoothing"] * (ops.mean(uniform, axis=1) - mean)
            return mean + penalty, (curves, moved)

        values = [weights[index] for index in trained]
        gradients, (means, moved) = backend.gradients(loss, values)
        new = state | {"step": state["step"] + ops.cast(1, "uint32")}
        number = ops.cast(new["step"], "float32")
        step = Step(self._of_optimizer(number), inputs["learning_rate"], inputs.get("momentum"))
        if self._held is None:
            weights = _applied(weights, self._kernel_steps(inputs, before=True))
            values = [weights[index] for index in trained]
            values, slots = self.optimizer.update(values, state["slots"], gradients, step)
            weights = _replaced(weights, [*zip(trained, values, strict=True), *moved.items()])
            weights = _applied(weights, self._bounds(inputs))
            weights = _applied(weights, self._kernel_steps(inputs, before=False))
            new |= {"weights": weights, "slots": slots}
        else:
            self._held.apply(self._kernel_steps(inputs, before=True))
            self._held.update(self.optimizer.in_place(step.of_one), gradients)
            for index, value in moved.items():
                self._held.assign(index, value)
            self._held.apply(self._bounds(inputs))
            self._held.apply(self._kernel_steps(inputs, before=False))
        if self.shape.averaging == "steps":
            after = new["weights"] if self._held is None else self._held.weights()
            share = ops.where(number > 1, 1 - inputs["decay"], 1.0)
            new["average"] = self._averaged(state, after, share)
        return new, means * float(x.shape[1])

    def _of_optimizer(self, number: Tensor) -> Tensor:
        """The number of a step, from 1 again where the optimizer starts anew."""
        if not self._restart:
            return number
        return ops.where(number > self._restart, number - self._restart, number)

    def _scores(
        self,
        outputs: Tensor,
        target: Tensor,
        weights: Tensor | None,
        mixing: mixup.Mixing | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Losses and hits, (P, rows) each, times the weights (P, rows) of the targets, if any."""
        losses, hits = self.objective.score(outputs, target)
        losses, hits = _weighted(losses, weights), _weighted(hits, weights)
        if mixing is None:
            return losses, hits
        others = None if weights is None else mixing.partner(weights)
        partners = self._scores(outputs, mixing.partner(target), others)
        return mixing.mix(losses, partners[0]), mixing.mix(hits, partners[1])

    def _averaged(self, state: State, weights: list[Tensor], share: Tensor) -> list[Tensor]:
        """The average with a share (P,) of the trained weights; other weights are not averaged."""
        return _replaced(
            weights,
            [
                (index, old * per_member(1 - share, old) + weights[index] * per_member(share, old))
                for index in self.population.trained
                for old in [state["average"][index]]
            ],
        )

    def _bounds(self, inputs: dict[str, Any]) -> PerWeight:
        """The constraints of the model, which Keras applies after the optimizer's step."""
        for index, slot in self.population.bounded.items():
            yield index, max_norm, inputs["hyperparameters"][slot]

    def _kernel_steps(self, inputs: dict[str, Any], before: bool) -> PerWeight:
        """The kernel steps before the optimizer's step, or those after it."""
        for step, indices in self.shape.kernel_steps:
            if step.before == before:
                size = inputs["learning_rate"] * inputs[f"step.{step.name}"]
                for index in indices:
                    yield index, step.of_members, size

    def _validate(
        self, weights: list[Tensor], inputs: dict[str, Any], val: Batch | None
    ) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy (P,) on the validation examples."""

        def sums(batch: Batch) -> Tensor:
            outputs, *_ = self.population.forward(
                weights, batch[0], inputs["hyperparameters"], None
            )
            losses, hits = self._scores(outputs, *batch[1:])
            return ops.stack([ops.sum(losses, axis=1), ops.sum(hits, axis=1)])

        if val is not None:
            total = sums(val)
        else:
            size, rows = EVALUATION_ROWS, (inputs["val"], inputs.get("val_weights"))
            full, rest = divmod(self.shape.val_rows, size)

            def body(i: Tensor, total: Tensor) -> Tensor:
                batch = self._part(rows, i, size)
                return total + sums(self._gather(inputs, batch))

            total = backend.repeat(full, body, ops.zeros((2, self.shape.members)))
            if rest:
                total = total + sums(self._gather(inputs, _after(rows, full * size)))
        means = total / self.shape.val_rows
        return means[0], means[1]

    def _close(self, old: State, new: State, curves: Tensor, inputs: dict[str, Any]) -> State:
        """Ends an epoch: freezes members that stop or diverge, and keeps the best weights."""
        active = old["active"]
        finite = ops.all(ops.isfinite(curves), axis=0)
        # A member that diverges keeps the weights it had before that epoch.
        keep = ops.logical_and(active, finite)
        epochs = old["epochs"] + ops.cast(active, "int32")
        lost = ops.logical_and(active, ops.logical_not(finite))
        state = new | {
            "weights": _choose(keep, new["weights"], old["weights"]),
            "slots": [
                _choose(keep, *pair) for pair in zip(new["slots"], old["slots"], strict=True)
            ],
            "epochs": epochs,
            "diverged": ops.where(lost, epochs, old["diverged"]),
            "active": keep,
        }
        if self.shape.averaging is not None:
            state["average"] = _choose(keep, new["average"], old["average"])
        return state if self.shape.monitor is None else self._stop(state, curves, inputs)

    def _stop(self, state: State, curves: Tensor, inputs: dict[str, Any]) -> State:
        """`keras.callbacks.EarlyStopping(restore_best_weights=True)`, for each member."""
        loss, accuracy = curves[2], curves[3]
        value = accuracy if self.shape.monitor == "val_accuracy" else -loss
        active = state["active"]
        better = ops.logical_and(active, value > state["best_value"])
        # Until stopping starts, no best value is set, so every epoch is better than it: the newest
        # weights are kept.
        looks = ops.logical_and(better, state["epochs"] > self.shape.start_from_epoch)
        wait = ops.where(better, 0, state["wait"] + 1)
        patient = ops.logical_or(wait < inputs["patience"], state["epochs"] <= 1)
        return state | {
            "best": _choose(better, validated(state), state["best"]),
            "best_value": ops.where(looks, value, state["best_value"]),
            "best_epoch": ops.where(better, state["epochs"], state["best_epoch"]),
            "wait": wait,
            "active": ops.logical_and(active, ops.logical_or(better, patient)),
        }


def validated(state: State) -> list[Tensor]:
    """The weights that are validated and returned: their average, if the state has one."""
    return state["average"] if "average" in state else state["weights"]  # type: ignore[no-any-return]


def _train_rows(inputs: dict[str, Any], epoch: Tensor | int) -> Rows:
    """The training examples of one epoch of a call, in order, and their weights."""
    weights = inputs.get("train_weights")
    return inputs["train"][epoch], None if weights is None else weights[epoch]


def _after(rows: Rows, start: int) -> Rows:
    """The rows from this one on."""
    indices, weights = rows
    return indices[:, start:], None if weights is None else weights[:, start:]


def _weighted(values: Tensor, weights: Tensor | None) -> Tensor:
    """The values (P, rows) times their weights, if there are any."""
    return values if weights is None else values * weights


def _replaced(weights: list[Tensor], new: Iterable[tuple[int, Tensor]]) -> list[Tensor]:
    """The weights with new ones at the given indices."""
    by_index = dict(new)
    return [by_index.get(index, weight) for index, weight in enumerate(weights)]


def _applied(weights: list[Tensor], functions: PerWeight) -> list[Tensor]:
    """The weights with each function applied to the weight with its index."""
    new = list(weights)
    for index, function, size in functions:
        new[index] = function(new[index], size)
    return new


def _choose(mask: Tensor, yes: list[Tensor], no: list[Tensor]) -> list[Tensor]:
    """For each member, `yes` where the (P,) mask holds, else `no`."""
    return [ops.where(per_member(mask, a), a, b) for a, b in zip(yes, no, strict=True)]
