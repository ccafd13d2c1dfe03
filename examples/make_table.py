"""Writes customers.csv: 900 customers of a made-up shop, and whether each comes back.

The truth is known, so an answer can be judged: whether a customer comes back depends on age, visits
and the plan; the other columns say nothing. Some cells are empty, as in every table.

    python examples/make_table.py customers.csv
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 900
EMPTY = 0.05  # share of cells without a value, in two columns
PLANS = {"basic": 0.0, "family": 0.8, "premium": 1.6}  # plan → what it adds to the log odds


def table(rows: int = ROWS, seed: int = 1) -> pd.DataFrame:
    """The table; `comes_back` is what can be predicted."""
    rng = np.random.default_rng(seed)
    age = rng.normal(45, 14, rows).clip(18, 90).round()
    visits = rng.poisson(4, rows).astype(float)
    plan = rng.choice([*PLANS], rows, p=[0.5, 0.3, 0.2])
    odds = 0.06 * (age - 45) + 0.5 * (visits - 4) + np.vectorize(PLANS.get)(plan) - 0.6
    noise = {f"survey_{number}": rng.normal(size=rows).round(3) for number in range(1, 13)}
    frame = pd.DataFrame(
        {
            "customer": [f"c-{number:05d}" for number in rng.permutation(rows)],
            "age": age,
            "visits": visits,
            "plan": plan,
            "shop": "main street",
            **noise,
            "comes_back": np.where(rng.random(rows) < 1 / (1 + np.exp(-odds)), "yes", "no"),
        }
    )
    for name in ("age", "plan"):
        frame.loc[rng.random(rows) < EMPTY, name] = None
    return frame


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/make_table.py FILE.csv")
    table().to_csv(Path(sys.argv[1]), index=False)
