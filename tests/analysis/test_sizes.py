"""Gains against rows or widths: where they matter, and what the page's numbers are made of."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis import derived, sizes, summary
from pipeline.analysis.sizes import Course, Sizes, limit, slope

from ..synthetic import make_runs

AT = (50, 150, 400, 1088)
MARGIN = 0.005  # of test accuracy, in margins.yaml


def planted(*gains: float, spread: float = 0.0, replicates: int = 5) -> np.ndarray:
    """Gains of some replicates at each size."""
    rng = np.random.default_rng(1)
    return np.array(gains) + spread * rng.standard_normal((replicates, len(gains)))


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((0.03, 0.01, 0.0, 0.0), np.sqrt(150 * 400)),  # halfway on the logarithmic scale
        ((0.0, 0.0, 0.0, 0.0), 0.0),
        ((0.03, 0.03, 0.03, 0.03), np.inf),
        ((0.03, 0.0, 0.03, -0.02), 400 * (1088 / 400) ** 0.5),  # the last crossing counts
    ],
)
def test_the_limit_is_where_the_mean_gain_crosses_the_margin(
    gains: tuple[float, ...], expected: float
) -> None:
    assert limit(planted(*gains), AT, MARGIN, "rows").mean == pytest.approx(expected)


@given(st.lists(st.floats(-0.05, 0.05).map(lambda x: round(x, 4)), min_size=4, max_size=4))
def test_widths_are_rows_seen_from_the_other_end(gains: list[float]) -> None:
    up = limit(planted(*gains), AT, MARGIN, "rows").mean
    mirrored = [1 / size for size in reversed(AT)]
    down = limit(planted(*gains[::-1]), mirrored, MARGIN, "width").mean  # type: ignore[arg-type]
    with np.errstate(divide="ignore"):
        assert np.isclose(up, np.divide(1.0, down)) or (up, down) in ((0.0, np.inf), (np.inf, 0.0))


def test_the_limits_interval_holds_the_truth_in_95_percent_of_studies() -> None:
    truth = np.array([0.04, 0.02, -0.01, -0.03])
    expected = limit(truth[None].repeat(2, 0), AT, MARGIN, "rows").mean
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        found = limit(truth + 0.015 * rng.standard_normal((5, 4)), AT, MARGIN, "rows")
        held += found.low <= expected <= found.high
    assert 0.92 <= held / 400 <= 0.995


def test_fewer_replicates_or_overlapping_splits_are_less_sure() -> None:
    gains = planted(0.03, 0.01, 0.0, -0.01, spread=0.004)
    sure, overlapping = (limit(gains, AT, MARGIN, "rows", overlap) for overlap in (0.0, 0.3))
    assert overlapping.low <= sure.low <= sure.mean <= sure.high <= overlapping.high
    assert np.isnan(limit(gains[:1], AT, MARGIN, "rows").low)


def test_the_slope_is_what_a_doubling_adds() -> None:
    doubled = [100 * 2**i for i in range(4)]
    assert slope(planted(0.04, 0.03, 0.02, 0.01), doubled).mean == pytest.approx(-0.01)


def runs_at(gains: dict[int, float], spread: float = 0.004) -> pd.DataFrame:
    """Final runs of none and l2 at each size, of which l2 gains what is planted."""
    parts = [
        make_runs({"none": 0.0, "l2": gain}, seeds=5, setting=f"rows_{size}", noise=spread).assign(
            size=size
        )
        for size, gain in gains.items()
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def found() -> Sizes:
    runs = runs_at({50: 0.05, 200: 0.03, 800: 0.0})
    return sizes.read(runs, summary.summarize(runs))


def test_a_study_is_read_in_the_order_of_its_sizes(found: Sizes) -> None:
    assert (found.what, found.sizes) == ("rows", (50, 200, 800))
    (course,) = found.courses
    rows = [
        next(row for row in finding.primary if row["technique"] == "l2")
        for finding in found.findings
    ]
    assert [gain.mean for gain in course.gains] == [row["difference"] for row in rows]
    assert 200 < course.limit.mean < 800
    assert len(found.growth) == 2


def test_every_number_of_the_sentence_is_in_the_table(found: Sizes) -> None:
    told, table = sizes.sentence(found, "Digits"), sizes.table(found)
    assert sizes.limit_text(found.first, found) in told
    assert sizes.limit_text(found.first, found) in table
    assert "shown to help: l2 at 50 and 200" in told
    assert "with 50 to 800 training rows" in told
    assert [row["size"] for row in sizes.rows(found)] == [50, 200, 800]


@pytest.mark.parametrize(
    ("limits", "what", "expected"),
    [
        ((0.0, 0.0, 60.0), "rows", "at none of these sizes [below 50, 60]"),
        ((np.inf, 90.0, np.inf), "rows", "at all of these sizes [90, above 800]"),
        ((123.0, 60.0, 456.0), "rows", "up to 120 training rows [60, 460]"),
        ((0.0, 0.0, 60.0), "width", "at all of these sizes [below 50, 60]"),
        ((np.inf, 90.0, np.inf), "width", "at none of these sizes [90, above 800]"),
        ((123.0, 60.0, 456.0), "width", "from 120 units a layer [60, 460]"),
    ],
)
def test_limits_are_told_within_what_was_tried(
    found: Sizes, limits: tuple[float, float, float], what: sizes.What, expected: str
) -> None:
    from dataclasses import replace

    from pipeline.analysis.statistics import Estimate

    course: Course = replace(found.courses[0], limit=Estimate(*limits))
    assert sizes.limit_text(course, replace(found, what=what)) == expected


def test_what_is_not_shown_is_not_told_as_a_gain() -> None:
    runs = runs_at({50: 0.002, 800: 0.0}, spread=0.03)
    told = sizes.sentence(sizes.read(runs, summary.summarize(runs)), "Digits")
    assert "no technique is shown to help" in told


def test_a_claim_compares_the_gains_at_both_ends(tmp_path: Path) -> None:
    runs = runs_at({50: 0.05, 800: 0.0}, spread=0.0)
    ends = derived.joined(runs, tmp_path, tmp_path / "none.npz").query("setting == 'tuned'")
    means = ends.groupby("technique")["test_accuracy"].mean()
    assert means["l2_smallest"] == pytest.approx(0.05)
    assert means["l2_largest"] == pytest.approx(0.0)
