"""What is TensorFlow's own: threads, compilation, the loop, the gradient.

Everything else in the engine is written with `keras.ops`, so that another backend would be added
here. Import this module before anything else touches TensorFlow: threads are set once.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import tensorflow as tf

Kind = Literal["xla", "graph"]
Tensor = Any
State = Any  # a nest of tensors


def single_threaded() -> None:
    """One thread for every operation; must come before the first one runs.

    Members share a core better than operations share members: see benchmarks/README.md.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def compiled(function: Callable[..., State], kind: Kind) -> Callable[..., State]:
    """The function as one program: XLA fuses small layers, the graph keeps oneDNN for wide ones."""
    return tf.function(function, jit_compile=kind == "xla", autograph=False)  # type: ignore[no-any-return]


def gradients(
    loss: Callable[[Sequence[Tensor]], tuple[Tensor, State]], weights: Sequence[Tensor]
) -> tuple[list[Tensor], State]:
    """Gradients of a loss of shape (P,) and what else the loss function returned.

    Members do not share weights, so the gradient of the summed loss is every member's own.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        losses, rest = loss(weights)
        total = tf.reduce_sum(losses)
    return tape.gradient(total, weights), rest


def repeat(count: int | Tensor, body: Callable[[Tensor, State], State], state: State) -> State:
    """`state = body(i, state)` for i in range(count), inside the program."""
    _, state = tf.while_loop(
        lambda i, _: i < count,
        lambda i, state: (i + 1, body(i, state)),
        (tf.constant(0), state),
        parallel_iterations=1,
    )
    return state


def scan(
    count: Tensor,
    capacity: int,
    body: Callable[[State], tuple[State, Tensor]],
    state: State,
    row_shape: tuple[int, ...],
    alive: Callable[[State], Tensor],
) -> tuple[State, Tensor]:
    """Repeats the body up to `count` <= capacity times, while the state is alive.

    Returns the last state and the rows, stacked to (capacity, *row_shape); rows of repetitions
    that did not happen are zero.
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
