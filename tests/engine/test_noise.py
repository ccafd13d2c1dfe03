"""The noise has the share and the independence that dropout needs."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from keras import ops
from scipy import stats

from pipeline.engine import noise_key
from pipeline.engine.backend import Kind, Tensor, compiled, gradients
from pipeline.engine.noise import Noise

SHAPE = (100, 500)  # 50,000 numbers


def bits(seeds: tuple[int, ...] = (0,), step: int = 0, stream: int = 1) -> np.ndarray:
    key = ops.convert_to_tensor(np.stack([noise_key(seed) for seed in seeds]))
    return np.asarray(Noise(key, ops.cast(step, "uint32")).bits(stream, SHAPE))


@pytest.mark.parametrize("rate", [0.01, 0.25, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("step", [0, 1, 3999])
def test_share_of_zeros_is_the_rate(rate: float, step: int) -> None:
    share = np.mean(bits(step=step) < rate * 2**32)
    error = np.sqrt(rate * (1 - rate) / np.prod(SHAPE))
    assert abs(share - rate) < 4.5 * error


def test_numbers_are_uniform() -> None:
    counts, _ = np.histogram(bits(), bins=256, range=(0, 2**32))
    expected = np.prod(SHAPE) / 256
    chi_square = np.sum((counts - expected) ** 2 / expected)
    assert abs(chi_square - 255) < 5 * np.sqrt(2 * 255)


@pytest.mark.parametrize(
    "other",
    [{"seeds": (1,)}, {"step": 1}, {"step": 2**16}, {"stream": 2}, {"stream": 0}],
    ids=str,
)
def test_members_steps_and_streams_are_independent(other: dict[str, int]) -> None:
    one, two = bits() < 2**31, bits(**other) < 2**31  # type: ignore[arg-type]
    correlation = np.corrcoef(one.ravel(), two.ravel())[0, 1]
    assert abs(correlation) < 4.5 / np.sqrt(np.prod(SHAPE))


@pytest.mark.parametrize("lag", [1, 2, 16, 500])
def test_neighbours_are_independent(lag: int) -> None:
    flat = (bits() < 2**31).ravel()
    correlation = np.corrcoef(flat[lag:], flat[:-lag])[0, 1]
    assert abs(correlation) < 4.5 / np.sqrt(flat.size)


def test_a_members_noise_does_not_depend_on_its_index() -> None:
    together = bits(seeds=(3, 4, 5))
    assert np.array_equal(together[2], bits(seeds=(5,))[0])


@pytest.mark.parametrize("kind", ["xla", "graph"])
@pytest.mark.parametrize("rates", [(0.0, 0.25, 0.9), (0.0, 0.0, 0.0)], ids=str)
def test_each_member_keeps_its_own_share(kind: Kind, rates: tuple[float, ...]) -> None:
    seeds = tuple(range(len(rates)))
    key = ops.convert_to_tensor(np.stack([noise_key(seed) for seed in seeds]))
    draw = compiled(lambda rate: Noise(key, ops.cast(0, "uint32"), kind).kept(1, SHAPE, rate), kind)
    found = np.asarray(draw(ops.convert_to_tensor(rates)))
    least = np.array(rates, np.float64).astype(np.float32) * 2.0**32
    assert np.array_equal(found, bits(seeds) >= least.reshape(-1, 1, 1))


def test_xla_draws_a_mask_once_for_the_forward_and_the_backward_pass() -> None:
    def gradient(x: Tensor, rate: Tensor, noise: tuple[Tensor, Tensor]) -> Tensor:
        def loss(values: Sequence[Tensor]) -> tuple[Tensor, None]:
            (x,) = values
            kept = Noise(*noise, "xla").kept(1, SHAPE, rate)
            return ops.sum(ops.matmul(x * kept, ops.ones((500, 3))) ** 2, axis=(1, 2)), None

        return gradients(loss, [x])[0]

    noise = ops.convert_to_tensor(noise_key(0)[None]), ops.cast(0, "uint32")
    given = ops.ones((1, *SHAPE)), ops.convert_to_tensor([0.5]), noise
    program: Any = compiled(gradient, "xla")
    text = program.experimental_get_compiler_ir(*given)(stage="optimized_hlo")
    products = re.findall(r"u32\[(?:1,)?(?:50000|100,500)\]\S* multiply\(", text)
    assert len(products) == 2, "a mask takes two products; more, and it is drawn again"


@pytest.mark.parametrize("kind", ["xla", "graph"])
def test_normal_numbers_are_normal(kind: Kind) -> None:
    draw = compiled(lambda key, step: Noise(key, step).normal(1, (1000, 500)), kind)
    key = ops.convert_to_tensor(noise_key(0)[None])
    found = np.asarray(draw(key, ops.cast(0, "uint32")), np.float64).ravel()
    # 4.5 standard errors each.
    assert abs(np.mean(found)) < 4.5 / np.sqrt(found.size)
    assert abs(np.var(found) - 1) < 4.5 * np.sqrt(2 / found.size)
    assert stats.kstest(found, "norm").pvalue > 1e-5
    for distance in (2, 3, 4):
        for tail in (found > distance, found < -distance):
            expected = stats.norm.sf(distance)
            error = np.sqrt(expected * (1 - expected) / found.size)
            assert abs(np.mean(tail) - expected) < 4.5 * error


@pytest.mark.parametrize("kind", ["xla", "graph"])
def test_normal_numbers_are_finite_and_symmetric_at_the_ends(kind: Kind) -> None:
    class Ends(Noise):
        def bits(self, stream: int, shape: tuple[int, ...]) -> np.ndarray:
            return np.array([[0, 2**31 - 1, 2**31, 2**32 - 1]], np.uint32)

    def draw() -> object:
        return Ends(None, None).normal(0, (4,))

    lowest, below, above, highest = np.asarray(compiled(draw, kind)())[0]
    # 2**23 numbers of equal probability: the last stands for the outer 2**-24.
    assert highest == pytest.approx(stats.norm.isf(2**-24), rel=1e-3)
    assert lowest == pytest.approx(-highest, rel=1e-6)
    assert 0 < above < 1e-6
    assert below == pytest.approx(-above, rel=1e-6)
