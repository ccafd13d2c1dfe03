"""The seeds of a run's random numbers."""

from typing import Literal

import numpy as np


def derived_seed(study_seed: int, seed: int, purpose: Literal["weights", "order"]) -> int:
    """A 32-bit seed; equal for equal (study seed, seed, purpose) in all techniques."""
    entropy = [study_seed, seed, int.from_bytes(purpose.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
