"""Learning curves as numbers, and figures as files."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from pipeline import formatting
from pipeline.analysis import summary
from pipeline.analysis.curves import thinned
from pipeline.analysis.tuning_curve import tuning_curve
from pipeline.datasets.task import CLASSIFICATION
from pipeline.errors import UserError
from pipeline.report import figures, style

from .synthetic import EPOCHS, SIGMAS, STRENGTH, make_curves, make_runs, make_trials

EFFECTS = {"none": 0.0, "early_stopping": 0.02, "l1": -0.01}
OUTCOMES = ("test_loss", "noise_accuracy")


def read(tmp_path: Path, runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    path = tmp_path / "curves.parquet"
    curves.to_parquet(path, index=False)
    return figures.mean_curves(path.parent, runs)


def finding(effects: Mapping[str, float], **runs: Any) -> summary.Finding:
    return summary.find(summary.summarize(make_runs(effects, **runs), OUTCOMES))


def of_score(effects: Mapping[str, float]) -> pd.DataFrame:
    """The score of each technique, and its costs."""
    table = summary.summarize(make_runs(effects))
    rows = pd.DataFrame(summary.rows_of(table, "tuned", "primary"))
    costs = {cost: summary.means(table, "tuned", cost) for cost in figures.COSTS}
    return rows.assign(**{cost: rows["technique"].map(mean) for cost, mean in costs.items()})


def forest(effects: Mapping[str, float], width: float, **runs: Any) -> Figure:
    return figures.forest([*finding(effects, **runs).by_outcome.values()], width)


@pytest.fixture
def curves(tmp_path: Path) -> pd.DataFrame:
    runs = make_runs(EFFECTS)
    return read(tmp_path, runs, make_curves(runs))


@pytest.fixture
def rows() -> pd.DataFrame:
    return of_score(EFFECTS)


@pytest.mark.parametrize("epochs", [1, 2, 300, 301, 4_000, 100_000])
def test_thinned_epochs_are_few_and_hold_first_and_last(epochs: int) -> None:
    kept = thinned(epochs)
    assert len(kept) == epochs if epochs <= 300 else 100 < len(kept) <= 300
    assert (kept[0], kept[-1]) == (1, epochs)
    assert (np.diff(kept) > 0).all()
    assert np.median(kept) < epochs / 2 or epochs <= 300


@pytest.mark.parametrize("points", [2, 3, 99])
def test_curves_are_thinned_to_as_few_points_as_asked_for(points: int) -> None:
    kept = thinned(1_000, points)
    assert len(kept) <= points
    assert (kept[0], kept[-1]) == (1, 1_000)


def test_a_curve_is_the_mean_over_seeds_and_its_band_the_middle(tmp_path: Path) -> None:
    runs = make_runs({"none": 0.0})
    raw = make_curves(runs)
    read_back = read(tmp_path, runs, raw).set_index("epoch")
    values = raw[raw["epoch"] == 7]["val_accuracy"]
    assert read_back.loc[7, "val_accuracy"] == pytest.approx(values.mean())
    assert read_back.loc[7, "val_accuracy_low"] == pytest.approx(values.quantile(0.1))
    assert read_back.loc[7, "val_accuracy_high"] == pytest.approx(values.quantile(0.9))


def stopping(raw: pd.DataFrame, last: list[int]) -> pd.DataFrame:
    """The curves of which that of seed s ends at epoch `last[s]`."""
    ends = raw["key"].astype(str).str.rsplit("-").str[-1].astype(int).map(dict(enumerate(last)))
    return raw[raw["epoch"] <= ends]


def test_a_curve_is_of_the_runs_that_still_train_and_ends_where_half_have_stopped(
    tmp_path: Path,
) -> None:
    runs = make_runs({"none": 0.0}, seeds=5)
    raw = stopping(make_curves(runs), [3, 5, 6, 9, 12])
    mean = read(tmp_path, runs, raw).set_index("epoch")
    assert mean.index.tolist() == [1, 2, 3, 4, 5, 6]
    for epoch in (2, 4, 6):
        going = raw[raw["epoch"] == epoch]
        for measure in CLASSIFICATION.curves:
            assert mean.loc[epoch, measure] == pytest.approx(going[measure].mean(), rel=1e-6)


@pytest.mark.parametrize("last", [[EPOCHS] * 4, [4] * 4])
def test_a_curve_of_equal_runs_ends_where_the_runs_end(tmp_path: Path, last: list[int]) -> None:
    runs = make_runs({"none": 0.0}, seeds=4)
    mean = read(tmp_path, runs, stopping(make_curves(runs), last))
    assert mean["epoch"].tolist() == list(range(1, last[0] + 1))


def test_a_loss_that_is_not_finite_is_left_out_of_the_curve(tmp_path: Path) -> None:
    runs = make_runs({"none": 0.0}, seeds=3)
    raw = make_curves(runs)
    raw.loc[raw["key"] == "tuned-none-0", "val_loss"] = np.inf
    table = read(tmp_path, runs, raw)
    assert np.isfinite(table["val_loss"]).all()


def test_missing_curves_are_told_with_the_command_that_makes_them(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS)
    with pytest.raises(
        UserError, match=r"curves\.parquet is missing; run `python -m pipeline train"
    ):
        figures.mean_curves(tmp_path, runs)
    raw = make_curves(runs)
    with pytest.raises(
        UserError,
        match=r"lacks the curves of 1 of the 30 runs in runs.csv, the first with key tuned-l1-4",
    ):
        read(tmp_path, runs, raw[raw["key"] != "tuned-l1-4"])


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
def test_all_panels_of_a_setting_share_their_axes(curves: pd.DataFrame, measure: str) -> None:
    panels = [figures.curve_panel(curves, technique, measure) for technique in EFFECTS]
    limits = {(panel.axes[0].get_xlim(), panel.axes[0].get_ylim()) for panel in panels}
    assert len(limits) == 1


def test_a_technique_that_learns_nothing_does_not_squeeze_the_others(tmp_path: Path) -> None:
    effects = {"none": 0.0, "l2": 0.01, "l1": -0.7}
    runs = make_runs(effects)
    runs.loc[runs["technique"] == "l1", "train_accuracy"] = 0.1
    raw = make_curves(runs)
    curves = read(tmp_path, runs, raw)
    without = read(tmp_path, runs, raw)
    without = without[without["technique"] != "l1"]
    assert figures.frame(curves, "accuracy") == figures.frame(without, "accuracy")
    texts = [
        text.get_text() for text in figures.curve_panel(curves, "l1", "accuracy").axes[0].texts
    ]
    assert "below this axis" in texts
    assert "train\n10.0" in texts


def test_long_trainings_have_a_logarithmic_epoch_axis(curves: pd.DataFrame) -> None:
    longer = curves.assign(epoch=curves["epoch"] * 100)
    for shown, scale in ((curves, "linear"), (longer, "log")):
        axes = figures.curve_panel(shown, "none", "accuracy").axes[0]
        assert axes.get_xscale() == scale
        assert axes.get_xlabel().startswith("epoch")


def test_curves_without_a_finite_loss_are_drawn_empty(curves: pd.DataFrame) -> None:
    broken = curves.assign(val_loss=np.nan, val_loss_low=np.nan, val_loss_high=np.nan)
    assert "<svg" in figures.svg(figures.curve_panel(broken, "none", "loss"), "a", "")


def test_forest_has_every_technique_but_the_baseline_in_order_for_each_outcome() -> None:
    axes = forest(EFFECTS, 7).axes
    assert len(axes) == 3
    for each in axes:
        labels = [label.get_text() for label in each.get_yticklabels()]
        assert labels == ["early_stopping", "l1"]
    titles = [each.get_xlabel() for each in axes]
    shares = ("test accuracy, percentage points", "noise accuracy, percentage points")
    assert titles == [shares[0], "test loss", shares[1]]


def test_forest_has_a_second_bar_where_seeds_alone_are_known() -> None:
    nested = {"seeds": 20, "per_replicate": 2, "overlap": 0.3}
    found, axes = finding(EFFECTS, **nested), forest(EFFECTS, 7, **nested).axes[0]
    bars = [bar.get_segments() for bar in axes.collections]  # type: ignore[attr-defined]
    wide, narrow = (
        {round(float(bar[0][k][0]), 9) for bar in bars for k in (0, 1)},
        {
            round(100 * float(row[f"seeds_{end}"]), 9)
            for row in found.compared
            for end in ("low", "high")
        },
    )
    assert narrow < wide


def test_one_extreme_difference_does_not_squeeze_the_forest() -> None:
    effects = {"none": 0.0, "l2": 0.01, "dropout": 0.0, "l1_l2": 0.02, "l1": -0.7}
    axes = forest(effects, 3.5).axes[0]
    assert -15 < axes.get_xlim()[0] < 0 < axes.get_xlim()[1]
    written = [text.get_text() for text in axes.texts]
    assert formatting.points(finding(effects).compared[-1]["difference"]) in written


def test_a_study_of_one_replicate_is_drawn_without_intervals() -> None:
    assert "<svg" in figures.svg(forest(EFFECTS, 7, seeds=1), "a", "")


def test_svg_is_well_formed_and_says_what_it_shows() -> None:
    root = ElementTree.fromstring(figures.svg(forest(EFFECTS, 7), "a", 'l1 "<" l2 & more'))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'l1 "<" l2 & more'
    assert root.get("width") is None
    assert root.get("viewBox") is not None


def test_svg_takes_its_colours_from_the_page(curves: pd.DataFrame) -> None:
    text = figures.svg(figures.curve_panel(curves, "l1", "accuracy"), "a", "")
    for color, name in style.VARIABLES.items():
        assert not re.search(rf"[^,] {color}", text)
        if name in ("ink", "muted", "grid", "train", "validation"):
            assert f"var(--{name}, {color})" in text


def test_figures_of_one_page_share_no_id_and_point_only_into_themselves(
    curves: pd.DataFrame,
) -> None:
    one, other = (
        figures.svg(figures.curve_panel(curves, "l1", "accuracy"), name, "") for name in "ab"
    )
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((one, other), ids, strict=True):
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) <= own


def test_the_same_results_give_the_same_svg(curves: pd.DataFrame) -> None:
    one, other = (
        figures.svg(figures.curve_panel(curves, "l1", "accuracy"), "a", "") for _ in range(2)
    )
    assert one == other


def test_png_is_written(curves: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    style.png(figures.curve_grid(curves, list(EFFECTS), "accuracy", "a title"), path)
    assert path.read_bytes().startswith(b"\x89PNG")


VAL = CLASSIFICATION.val
SEARCHED = figures.Searched("strength", 1e-5, 1e-1, log=True, chosen=(STRENGTH,), article=None)


def test_every_trial_is_marked_and_the_chosen_one_ringed() -> None:
    trials = make_trials(["l1"])
    trials.loc[0, "val_accuracy"] = 0.1
    axes = figures.strength_panel(trials, SEARCHED, 3, VAL, (0.6, 0.9)).axes[0]
    marks = [(line.get_marker(), *np.asarray(line.get_data(), dtype=float)) for line in axes.lines]
    assert sum(len(x) for _, x, _ in marks) == len(trials) + 1
    assert sum(len(x) for marker, x, _ in marks if marker == "v") == 1
    ((x, y),) = [(x[0], y[0]) for marker, x, y in marks if marker == "D"]
    assert (x, y) == pytest.approx((STRENGTH, 81.25))
    assert axes.get_xscale() == "log"


def test_a_pruned_trial_is_small_and_grey_and_never_ringed() -> None:
    trials = make_trials(["l1"])
    trials.loc[2, "state"] = "pruned"
    trials.loc[2, "params.strength"] = STRENGTH
    trials.loc[2, "val_accuracy"] = 0.88
    axes = figures.strength_panel(trials, SEARCHED, 3, VAL, (0.6, 0.9)).axes[0]
    (mark,) = [line for line in axes.lines if 88 in np.asarray(line.get_ydata())]
    complete = [line for line in axes.lines if line.get_color() == style.TRAIN]
    assert mark.get_color() == style.MUTED
    assert all(mark.get_markersize() < line.get_markersize() for line in complete)
    assert sum(len(np.asarray(line.get_xdata())) for line in complete) == len(trials) - 1
    (ring,) = [line for line in axes.lines if line.get_marker() == "D"]
    assert np.asarray(ring.get_ydata())[0] == pytest.approx(81.25)


def test_the_choice_of_each_search_has_a_diamond() -> None:
    trials = make_trials(["l1"])
    chosen = (STRENGTH, float(trials["params.strength"].iloc[2]))
    searched = replace(SEARCHED, chosen=chosen)
    axes = figures.strength_panel(trials, searched, 3, VAL, (0.6, 0.9)).axes[0]
    (rings,) = [line for line in axes.lines if line.get_marker() == "D"]
    scores = [81.25, 100 * float(trials["val_accuracy"].iloc[2])]
    assert np.asarray(rings.get_xdata()).tolist() == [*chosen]
    assert np.asarray(rings.get_ydata()) == pytest.approx(scores)


@pytest.mark.parametrize("article", [1e-4, 1.0])
def test_the_articles_value_is_marked_even_beyond_the_range(article: float) -> None:
    searched = replace(SEARCHED, article=article)
    axes = figures.strength_panel(make_trials(["l1"]), searched, 3, VAL, (0.6, 0.9)).axes[0]
    assert article in np.concatenate([np.asarray(line.get_xdata()) for line in axes.lines])
    assert axes.get_xlim()[0] < article < axes.get_xlim()[1]


def test_the_tuning_curve_ends_at_the_best() -> None:
    curve = tuning_curve([0.7, 0.8, 0.75, 0.85], 2)
    axes = figures.tuning_panel(curve, curve, VAL, (0.6, 0.9)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["best\n85.0"]
    assert len(axes.lines) == 3
    assert len(figures.tuning_panel(curve, None, VAL, (0.6, 0.9)).axes[0].lines) == 2


@pytest.mark.parametrize("cost", figures.COSTS)
def test_cost_names_every_technique_in_the_order_of_accuracy(rows: pd.DataFrame, cost: str) -> None:
    axes = figures.cost_panel(rows, cost, CLASSIFICATION.test).axes[0]
    ranked = rows.sort_values("mean", ascending=False)
    assert [text.get_text() for text in axes.texts] == list(ranked["technique"])
    heights = [text.xyann[1] for text in axes.texts if isinstance(text, Annotation)]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == len(rows)


@pytest.mark.parametrize("heights", [[0.9, 0.5, 0.1], [0.5] * 9, [1.0] * 3, [0.0] * 4, [0.3]])
def test_names_are_kept_apart_in_order_and_inside(heights: list[float]) -> None:
    apart = figures._apart(heights)
    assert all(0 <= height <= 1 for height in apart)
    steps = -np.diff(apart)
    assert (steps >= min(0.09, 1 / max(len(heights) - 1, 1)) - 1e-9).all()


def test_scores_far_below_the_usual_do_not_stretch_the_axis() -> None:
    low, high = figures.score_limits(pd.Series([0.1, 0.78, 0.8, 0.8, 0.82]), VAL)
    assert 0.7 < low < 0.78
    assert high > 0.82


def test_accuracy_under_noise_is_the_mean_over_replicates_and_drawn_against_the_baseline() -> None:
    runs = make_runs(EFFECTS | {"l2": -0.7})
    curves = figures.noise_curves(runs)
    assert len(curves) == 4 * len(SIGMAS)
    row = curves[(curves["technique"] == "l1") & (curves["sigma"] == 0.2)].iloc[0]
    mean = runs.loc[runs["technique"] == "l1", "noise_0.2_accuracy"].mean()
    assert row["accuracy"] == pytest.approx(mean)
    assert row["low"] < mean < row["high"]
    panels = {name: figures.noise_panel(curves, name).axes[0] for name in ("none", "l1", "l2")}
    assert [len(axes.lines) for axes in panels.values()] == [1, 2, 2]
    assert len({axes.get_ylim() for axes in panels.values()}) == 1
    assert panels["l1"].get_ylim()[0] > 30  # what learns nothing does not squeeze the others
    assert [text.get_text() for text in panels["l2"].texts] == ["below this axis"]


def test_accuracy_under_noise_of_one_replicate_has_no_interval() -> None:
    curves = figures.noise_curves(make_runs(EFFECTS, seeds=1))
    assert curves["low"].isna().all()
    assert "<svg" in figures.svg(figures.noise_panel(curves, "l1"), "a", "")
