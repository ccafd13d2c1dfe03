"""What choices were worth: against SciPy, and against a direct computation."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline import results
from pipeline.datasets.task import CLASSIFICATION, RECONSTRUCTION
from pipeline.tuning import choices

TRIALS, DRAWS = 12, 2


def scored(held_out: bool = True, seed: int = 0, part: str = "accuracy") -> pd.DataFrame:
    """Scores of two searches of two techniques; validation tells something about test."""
    random, rows = np.random.default_rng(seed), []
    for technique in ("none", "l2"):
        for search in range(2):
            for trial in range(TRIALS):
                good = random.normal(0.8, 0.03)
                for turn in range(DRAWS):
                    names = [f"val_{part}", f"test_{part}", "test_loss"]
                    names += [f"held_out_{part}", "held_out_loss"] if held_out else []
                    row: dict[str, Any] = {"technique": technique, "search": search}
                    row |= {
                        "trial": trial,
                        "turn": turn,
                        "key": f"{technique}{search}{trial}{turn}",
                    }
                    row |= {name: random.normal(good, 0.02) for name in dict.fromkeys(names)}
                    row |= (
                        {f"held_out_{part}": round(random.normal(good, 0.02), 2)}
                        if held_out
                        else {}
                    )
                    rows.append(row)
    return pd.DataFrame(rows)


def tuned(trials: dict[str, list[int]]) -> dict[str, Any]:
    """The entry `techniques` of a tuned.json, by the trials that were chosen."""
    return {
        name: {"searches": [{"trial": trial} for trial in chosen]}
        for name, chosen in trials.items()
    }


CHOSEN = tuned({"none": [3, 0], "l2": [5, 11]})


def test_the_rank_correlation_is_spearmans_of_the_trials_means() -> None:
    table, rows = scored(), choices.choices(scored(), CHOSEN, CLASSIFICATION)
    assert list(rows.columns) == ["task", *results.CHOICE_COLUMNS]
    assert list(rows["technique"]) == ["none", "none", "l2", "l2"]
    for row in rows.to_dict("records"):
        own = table[(table["technique"] == row["technique"]) & (table["search"] == row["search"])]
        means = own.groupby("trial")[["val_accuracy", "test_accuracy"]].mean()
        expected = stats.spearmanr(means["val_accuracy"], means["test_accuracy"]).statistic
        assert row["rank_correlation"] == pytest.approx(expected)
        assert row["rank_low"] < expected < row["rank_high"]
        assert row["trials"] == TRIALS


def test_an_order_that_is_the_same_correlates_fully_and_a_turned_one_negatively() -> None:
    table = scored()
    for sign in (1, -1):
        same = table.assign(test_accuracy=0.5 + sign * table["val_accuracy"] / 10)
        rows = choices.choices(same, CHOSEN, CLASSIFICATION)
        np.testing.assert_allclose(rows["rank_correlation"], sign)


def test_what_a_practitioner_loses_is_computed_directly() -> None:
    """Each draw is somebody who takes the best trial by the sample's other points."""
    table, rows = scored(), choices.choices(scored(), CHOSEN, CLASSIFICATION)
    ties = 0
    for row in rows.to_dict("records"):
        technique, search = row["technique"], int(row["search"])
        chosen = CHOSEN[technique]["searches"][search]["trial"]
        losses = []
        for turn in range(DRAWS):
            of_draw = table[
                (table["technique"] == technique)
                & (table["search"] == search)
                & (table["turn"] == turn)
            ].set_index("trial")
            best = of_draw[of_draw["held_out_accuracy"] == of_draw["held_out_accuracy"].max()]
            ties += len(best) > 1
            pick = best["held_out_loss"].idxmin()  # among equal ones
            losses.append(of_draw.loc[chosen, "test_accuracy"] - of_draw.loc[pick, "test_accuracy"])
        assert row["practitioner_lost"] == pytest.approx(np.mean(losses))
        assert row["practitioner_lost_error"] == pytest.approx(stats.sem(losses))
    assert ties  # or the loss decides nothing here


def test_without_other_points_there_is_no_practitioner() -> None:
    rows = choices.choices(scored(held_out=False), CHOSEN, CLASSIFICATION)
    assert rows[["practitioner_lost", "practitioner_lost_error"]].isna().all(axis=None)
    assert rows["rank_correlation"].notna().all()


def test_errors_are_turned_so_that_a_loss_is_a_loss() -> None:
    """Of a reconstruction less is better: who picks a trial with a larger error loses."""
    table = scored(part="loss")
    first = table[(table["technique"] == "l2") & (table["search"] == 0)].copy()
    first["held_out_loss"] = first["test_loss"] = 1.0
    first.loc[first["trial"] == 2, "held_out_loss"] = 0.5  # the pick
    first.loc[first["trial"] == 2, "test_loss"] = 3.0
    (row,) = choices.choices(first, CHOSEN, RECONSTRUCTION).to_dict("records")
    assert row["practitioner_lost"] == pytest.approx(2.0)
    means = first.groupby("trial")[["val_loss", "test_loss"]].mean()
    expected = stats.spearmanr(means["val_loss"], means["test_loss"]).statistic
    assert row["rank_correlation"] == pytest.approx(expected)


def test_trials_too_large_to_be_kept_leave_no_rows_but_the_columns() -> None:
    rows = choices.choices(pd.DataFrame(), CHOSEN, CLASSIFICATION)
    assert rows.empty
    assert list(rows.columns) == ["task", *results.CHOICE_COLUMNS]
