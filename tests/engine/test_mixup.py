"""How mixup draws its shares and partners. Bounds are 4.5 standard errors."""

import numpy as np
import pytest
from keras import ops
from scipy import stats

from pipeline.engine import noise_key
from pipeline.engine.mixup import Mixing, draw, quantiles
from pipeline.engine.noise import Noise

MEMBERS, ROWS = 4000, 5


def drawn(alpha: float) -> Mixing:
    keys = np.stack([noise_key(seed) for seed in range(MEMBERS)])
    noise = Noise(ops.convert_to_tensor(keys), ops.cast(7, "uint32"))
    table = np.broadcast_to(quantiles(alpha), (MEMBERS, len(quantiles(alpha))))
    return draw(noise, ops.convert_to_tensor(table), ROWS)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 2.0])
def test_shares_have_the_mean_and_variance_of_beta(alpha: float) -> None:
    found = np.asarray(drawn(alpha).share)
    beta = stats.beta(alpha, alpha)
    variance, kurtosis = beta.var(), float(beta.stats("k"))
    assert abs(found.mean() - 0.5) < 4.5 * np.sqrt(variance / MEMBERS)
    error = variance * np.sqrt((kurtosis + 2) / MEMBERS)
    assert abs(np.mean((found - 0.5) ** 2) - variance) < 4.5 * error
    # The table itself, whose error no sample shows.
    levels = np.linspace(0, 1, 100_001)
    whole = np.interp(levels, np.linspace(0, 1, 1025), quantiles(alpha))
    assert whole.var() == pytest.approx(variance, rel=2e-3)


def test_partners_permute_each_members_batch_and_each_is_as_likely() -> None:
    partners = np.asarray(drawn(1.0).partners)
    members = np.arange(MEMBERS)[:, None]
    assert np.array_equal(np.sort(partners), members * ROWS + np.arange(ROWS))
    counts = np.bincount(partners[:, 0] % ROWS, minlength=ROWS)
    assert stats.chisquare(counts).pvalue > 1e-5


def test_alpha_zero_mixes_nothing() -> None:
    assert np.all(np.asarray(drawn(0).share) == 1)
