"""What depends on TensorFlow: threads, compilation, loops, gradients.

Everything else in the engine is written with `keras.ops`, so another backend would be added here.
 Import this module before anything else touches TensorFlow: threads are set once.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

# Set before TensorFlow is imported, whose default is oneDNN only on processors with AVX-512: on
# others, convolutions without it take 1.7 times as long, recurrent products 1.3 times.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import tensorflow as tf

Kind = Literal["xla", "graph"]
Tensor = Any
State = Any  # a nest of tensors
Variable = Any  # a tensor that is updated in place
# (index, function, size): the weight with this index becomes function(weight, size); size (P,).
PerWeight = Iterable[tuple[int, Callable[[Tensor, Tensor], Tensor], Tensor]]


def on_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def set_up(deterministic: bool) -> None:
    """Prepares a worker's device; must come before the first operation.

    On a CPU, each operation has one thread: this is faster than to split operations
    (see benchmarks/README.md), and one thread always sums in the same order. On a GPU,
    `deterministic` gives the same bits for the same seed, at the cost of speed.
    """
    if not on_gpu():
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        return
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def compiled(
    function: Callable[..., State], kind: Kind, rows: Sequence[Tensor] | None = None
) -> Callable[..., State]:
    """The function as one program: XLA fuses small layers, the graph uses oneDNN for wide ones.

    Each shape of its arguments has its own program, unless `rows` has a sample of each argument:
    then one program serves any number of rows.
    """
    signature = None
    if rows is not None:
        signature = [tf.TensorSpec((None, *sample.shape[1:]), sample.dtype) for sample in rows]
    program = tf.function(
        function, input_signature=signature, jit_compile=kind == "xla", autograph=False
    )
    # Looking up a program by its arguments takes a tenth of a millisecond, which one alone saves.
    return program if rows is None else program.get_concrete_function()  # type: ignore[no-any-return]


class Held:
    """One member's weights and optimizer slots, updated in place.

    Weights that exceed the cache make an update as slow as its memory traffic; TensorFlow's own
    updates move half as much as new tensors do. Only for graph programs: XLA fuses the functional
    update.

    Args:
        shapes: of the weights, as in Keras.
        trained: the indices of the weights with a gradient.
        slots: the number of tensors that the optimizer keeps per trained weight.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], trained: Sequence[int], slots: int
    ) -> None:
        self._trained = trained
        # Without the axis of members, so that products and updates need no reshaping.
        self._weights, *self._slots = (
            [tf.Variable(tf.zeros(shape), trainable=False) for shape in group]
            for group in [shapes, *[[shapes[index] for index in trained]] * slots]
        )

    def load(self, weights: Sequence[Tensor], slots: Sequence[Sequence[Tensor]]) -> None:
        """Sets all values."""
        for variables, values in zip([self._weights, *self._slots], [weights, *slots], strict=True):
            for variable, value in zip(variables, values, strict=True):
                _assign(variable, value)

    def weights(self) -> list[Tensor]:
        """The current weights."""
        return [_read(variable) for variable in self._weights]

    def slots(self) -> list[list[Tensor]]:
        """The optimizer's current slots."""
        return [[_read(variable) for variable in slot] for slot in self._slots]

    def update(
        self,
        update: Callable[[Variable, Sequence[Variable], Tensor], None],
        gradients: Sequence[Tensor],
    ) -> None:
        """The optimizer's update (of weight, slots and gradient) for each trained weight.

        From the last weight to the first, each as soon as its gradient is known and still in the
        cache.
        """
        trained = list(zip(self._trained, gradients, *self._slots, strict=True))
        for i, (index, gradient, *slots) in reversed(list(enumerate(trained))):
            # Every reader of the old weight must come first, or TensorFlow would copy it: the last
            # reader, in the backward pass, leads to the gradient of the preceding weight.
            with tf.control_dependencies(gradients[max(0, i - 1) : i + 1]):
                weight = self._weights[index]
                update(weight, slots, tf.reshape(gradient, weight.shape))

    def assign(self, index: int, value: Tensor) -> None:
        """Sets the weight with this index."""
        _assign(self._weights[index], value)

    def apply(self, functions: PerWeight) -> None:
        """Replaces the weight with each index by the function's value for it."""
        for index, function, size in functions:
            self.assign(index, function(_read(self._weights[index]), size))


def _read(variable: Variable) -> Tensor:
    """The variable's value, (1, ...)."""
    return tf.reshape(variable.read_value(), (1, *variable.shape))


def _assign(variable: Variable, value: Tensor) -> None:
    variable.assign(tf.reshape(value, variable.shape))


def adam_in_place(
    weight: Variable,
    mean: Variable,
    square: Variable,
    gradient: Tensor,
    rate: Tensor,
    powers: tuple[Tensor, Tensor],
    betas_and_epsilon: tuple[float, float, float],
) -> None:
    """Adam's step, with the betas to the power of the step, counted from 1."""
    beta_1, beta_2, epsilon = betas_and_epsilon
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle, m=mean.handle, v=square.handle, grad=gradient, lr=rate,
        beta1_power=powers[0], beta2_power=powers[1],
        beta1=beta_1, beta2=beta_2, epsilon=epsilon,
    )  # fmt: skip


def sgd_in_place(weight: Variable, gradient: Tensor, rate: Tensor) -> None:
    """The step of plain gradient descent."""
    tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=rate, delta=gradient)


def momentum_in_place(
    weight: Variable, velocity: Variable, gradient: Tensor, rate: Tensor, momentum: Tensor
) -> None:
    """The step of gradient descent with momentum: velocity, then weight, as in Keras."""
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weight.handle, accum=velocity.handle, lr=rate, grad=gradient, momentum=momentum
    )


def gradients(
    loss: Callable[[Sequence[Tensor]], tuple[Tensor, State]], weights: Sequence[Tensor]
) -> tuple[list[Tensor], State]:
    """Gradients of a loss of shape (P,), and the loss function's second value.

    Members do not share weights, so the gradient of the summed loss is every member's own.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        losses, rest = loss(weights)
        total = tf.reduce_sum(losses)
    return tape.gradient(total, weights), rest


def rows(table: Tensor, indices: Tensor) -> Tensor:
    """The rows with these indices >= 0; `keras.ops.take` would also handle negative ones."""
    return tf.gather(table, indices)


def argmax(values: Tensor) -> Tensor:
    """Index of the largest on the last axis; Keras's needs seven operations, to order -0 and 0."""
    return tf.argmax(values, axis=-1, output_type=tf.int32)


def add_bias(values: Tensor, bias: Tensor) -> Tensor:
    """values (..., units) + bias (units,); its gradient takes a third of a broadcast's time.

    The difference matters if there are many values per unit, one per position or time step.
    """
    return tf.nn.bias_add(values, bias)


def repeat(count: int | Tensor, body: Callable[[Tensor, State], State], state: State) -> State:
    """`state = body(i, state)` for i in range(count), inside the program."""
    _, state = tf.while_loop(
        lambda i, _: i < count,
        lambda i, state: (i + 1, body(i, state)),
        (tf.constant(0), state),
        parallel_iterations=1,
    )
    return state


def apart(function: Callable[..., State]) -> Callable[..., State]:
    """The function as a separate graph, for calls in a loop of a graph program.

    In a graph with loops TensorFlow visits operations in an order that differs between processes,
    and it hands the gradient of max pooling to oneDNN only if it visits the pooling first; without
    oneDNN it takes ten times as long.
    """
    attributes = {"_noinline": True}
    return tf.function(function, autograph=False, experimental_attributes=attributes)  # type: ignore[no-any-return]


def once(make: Callable[[], Tensor], needed: Tensor, otherwise: Tensor) -> Tensor:
    """`make()` if it is needed, a () bool, else `otherwise`, of the same shape and type.

    XLA fuses elementwise operations into each of their uses and computes them again in each, even
    with a barrier or a condition around them; it fuses nothing out of a loop.
    """
    return repeat(tf.cast(needed, tf.int32), lambda i, state: make(), otherwise)


def scan(
    count: Tensor,
    capacity: int,
    body: Callable[[State], tuple[State, Tensor]],
    state: State,
    row_shape: tuple[int, ...],
    alive: Callable[[State], Tensor],
) -> tuple[State, Tensor]:
    """Repeats the body up to `count` <= capacity times, while the state is alive.

    Returns the last state and the rows, stacked to (capacity, *row_shape); the rows after the last
    repetition are zero.
    """

    def step(i: Tensor, state: State, rows: tf.TensorArray) -> tuple[Tensor, State, tf.TensorArray]:
        state, row = body(state)
        return i + 1, state, rows.write(i, row)

    rows = tf.TensorArray(tf.float32, capacity, element_shape=row_shape)
    _, state, rows = tf.while_loop(
        lambda i, state, _: tf.logical_and(i < count, alive(state)),
        step,
        (tf.constant(0), state, rows),
        parallel_iterations=1,
    )
    return state, rows.stack()
