"""A counter-based random generator whose noise depends on the member, not on its population.

Each number is a hash of (member's key, step, stream, position), so a member gets the same noise
in any population, program and chunk. XLA's own generator is many times slower on a CPU and takes
one key for a whole tensor; see benchmarks/README.md.
"""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from pipeline.engine import backend
from pipeline.engine.backend import Kind, Tensor
from pipeline.engine.optimizers import per_member


@dataclass(frozen=True)
class Noise:
    """The noise of one training step of P members.

    `key`: (P, 2) uint32, the members' keys. `step`: () uint32, counts a member's steps from 0.
    `kind`: of the program that draws it.
    """

    key: Tensor
    step: Tensor
    kind: Kind = "graph"

    def bits(self, stream: int, shape: tuple[int, ...]) -> Tensor:
        """(P, *shape) uniform uint32; each `stream` of a step (a layer, say) is independent."""
        salt = _mix(self.step * _u32(0x9E3779B9) + _u32(stream))
        first = ops.expand_dims(_mix(self.key[:, 0] ^ salt), 1)
        second = ops.expand_dims(_mix(self.key[:, 1] + salt), 1)
        size = int(np.prod(shape))
        position = ops.expand_dims(ops.convert_to_tensor(np.arange(size, dtype=np.uint32)), 0)
        return ops.reshape(_mix(position ^ first, second), (-1, *shape))

    def kept(self, stream: int, shape: tuple[int, ...], rate: Tensor) -> Tensor:
        """(P, *shape) float32: 0 with probability `rate` (P,), else 1."""

        def drawn() -> Tensor:
            bits = self.bits(stream, shape)
            return bits >= per_member(ops.cast(rate * 2.0**32, "uint32"), bits)

        if self.kind == "graph":
            return ops.cast(drawn(), "float32")
        # The backward pass needs it again.
        all_kept = ops.ones((self.key.shape[0], *shape), "bool")
        return ops.cast(backend.once(drawn, ops.any(rate > 0), all_kept), "float32")

    def uniform(self, stream: int, shape: tuple[int, ...]) -> Tensor:
        """(P, *shape) uniform float32 in (0, 1): odd multiples of 2**-24, so never at an end."""
        return (ops.cast(_shift(self.bits(stream, shape), 9), "float32") + 0.5) * 2.0**-23

    def normal(self, stream: int, shape: tuple[int, ...]) -> Tensor:
        """(P, *shape) standard normal float32, `sqrt(2) * erfinv(u)`; no |z| is above 5.3.

        In XLA, erfinv takes half as long as Box and Muller's transform, whose sine and cosine are
        not vectorized.
        """
        # Odd multiples of 2**-23 in (-1, 1): exact in float32, symmetric, and never at an end.
        count = ops.cast(_shift(self.bits(stream, shape), 9), "float32")
        return ops.erfinv(count * 2.0**-22 + (2.0**-23 - 1)) * math.sqrt(2)


def _mix(x: Tensor, key: Tensor = 0) -> Tensor:
    """A 32-bit finalizer (two multiplications, three xor-shifts); the key enters half-way.

    Constants: C. Wellons, "Prospecting for hash functions", found by search for low bias.
    """
    x = (x ^ _shift(x, 16)) * _u32(0x21F0AAAD)
    x = (x ^ _shift(x, 15)) + ops.cast(key, "uint32")
    x = x * _u32(0xD35A2D97)
    return x ^ _shift(x, 15)


def _shift(x: Tensor, bits: int) -> Tensor:
    return ops.right_shift(x, _u32(bits))


def _u32(value: int) -> Tensor:
    return ops.convert_to_tensor(np.uint32(value))
