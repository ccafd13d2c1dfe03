"""Mixup: every example and its label mixed with another one of the batch. Zhang et al. 2018.

Each member's batch has one share, drawn from Beta(alpha, alpha) by inverting its distribution
function. The quantiles are a table made on the host, since samplers of Beta need loops of unknown
length. A second draw says how far along the batch an example's partner is, so that batches that are
never shuffled are mixed differently in each step, too.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops

from pipeline.engine import backend
from pipeline.engine.backend import Tensor
from pipeline.engine.noise import Noise
from pipeline.engine.optimizers import per_member

STREAM = 2**16  # of the noise; a layer's stream is its index
STEPS = 1024  # of the table of quantiles, which is linear in between


def quantiles(alpha: float) -> np.ndarray:
    """(STEPS + 1,) float32 of Beta(alpha, alpha), evenly spaced; alpha 0 mixes nothing."""
    if alpha == 0:
        return np.ones(STEPS + 1, np.float32)
    from scipy import special  # takes as long as a run of circles, and few runs need it

    levels = np.linspace(0, 1, STEPS + 1)
    return np.asarray(special.betaincinv(alpha, alpha, levels), np.float32)


@dataclass(frozen=True)
class Mixing:
    """`share`: (P,) in [0, 1], of the example itself. `partners`: (P, rows) indices < P * rows."""

    share: Tensor
    partners: Tensor

    def mix(self, own: Tensor, others: Tensor) -> Tensor:
        """share * own + (1 - share) * others, each (P, ...)."""
        return own * per_member(self.share, own) + others * per_member(1 - self.share, others)

    def partner(self, values: Tensor) -> Tensor:
        """For each example, its partner's values in (P, rows, ...)."""
        flat = ops.reshape(values, (-1, *values.shape[2:]))
        return backend.rows(flat, self.partners)


def draw(noise: Noise, table: Tensor, rows: int) -> Mixing:
    """The mixing of batches of this many rows in one step; table: (P, STEPS + 1) quantiles."""
    members = table.shape[0]
    level, shift = ops.unstack(noise.uniform(STREAM, (2,)), axis=1)
    below = ops.floor(level * STEPS)
    neighbours = ops.cast(ops.stack([below, below + 1], axis=1), "int32")
    low, high = ops.unstack(ops.take_along_axis(table, neighbours, axis=1), axis=1)
    first = ops.convert_to_tensor(np.arange(members, dtype=np.int32)[:, None] * np.int32(rows))
    index = ops.convert_to_tensor(np.arange(rows, dtype=np.int32)[None])
    shift = ops.expand_dims(ops.cast(ops.floor(shift * rows), "int32"), 1)
    return Mixing(low + (level * STEPS - below) * (high - low), first + (index + shift) % rows)
