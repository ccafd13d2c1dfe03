"""Tuned values against the article's: what is compared, and that nothing follows if they lose."""

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis import advice, summary
from pipeline.analysis.summary import Finding
from pipeline.report.sentences import headline
from pipeline.results import PARAM

from ..synthetic import make_runs, make_tuned

EPOCHS = f"{PARAM}epochs"


def both(
    tuned: float, *, article_setting: str = "article", epochs: int = 12, searches: int = 1
) -> pd.DataFrame:
    """Runs of the article's values, and tuned ones that score `tuned` more; l2 gains 5 points."""
    effects = {"none": 0.0, "l2": 0.05}
    article = make_runs(effects, setting=article_setting).assign(**{EPOCHS: epochs})
    article["test_accuracy"] += np.random.default_rng(5).normal(scale=0.003, size=len(article))
    better = {name: effect + tuned for name, effect in effects.items()}
    own = make_runs(better, setting="tuned", searches=searches).assign(**{EPOCHS: 12})
    return pd.concat([own, article], ignore_index=True)


def find(runs: pd.DataFrame, same_rows: bool = True) -> Finding:
    return summary.find(summary.summarize(runs, same_rows=same_rows))


@pytest.mark.parametrize("searches", [1, 3])
def test_each_technique_is_compared_with_its_own_article_values(searches: int) -> None:
    finding = find(both(0.01, searches=searches))
    assert [row["technique"] for row in finding.checks] == ["none", "l2"]
    for row in finding.checks:
        assert row["difference"] == pytest.approx(0.01, abs=0.005)
        assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert finding.lost is None
    assert finding.champion == "l2"


def test_nothing_follows_if_the_tuned_baseline_loses() -> None:
    finding = find(both(-0.03))
    assert finding.lost is not None
    assert finding.better == ("l2",)
    assert finding.champion is None
    advised = advice.advise(finding, make_tuned(["none", "l2"]), "On Circles")
    assert advised.technique is None
    for text in (advised.text, headline(finding, "Circles")):
        assert "worse than the article's" in text
        assert "l2" not in text


def test_a_loss_that_is_not_shown_silences_nothing() -> None:
    assert find(both(-0.0001)).lost is None


@pytest.mark.parametrize(
    ("setting", "same_rows", "epochs", "compared"),
    [
        ("article", True, 12, True),
        ("article", False, 12, False),  # the article's own split
        ("article_fresh", False, 12, True),  # its values on the draws of the tuned setting
        ("article", True, 24, False),  # other epochs
    ],
)
def test_only_the_same_rows_and_epochs_are_compared(
    setting: str, same_rows: bool, epochs: int, compared: bool
) -> None:
    runs = both(-0.03, article_setting=setting, epochs=epochs)
    assert bool(find(runs, same_rows).checks) == compared
