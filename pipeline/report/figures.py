"""Figures of a study's results: differences to the baseline, learning curves, cost, and search.

Each function returns one matplotlib `Figure` in the style of `pipeline.report.style`. In the output
of `svg`, colours are CSS variables, so that the page can switch between light and dark.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.analysis import paired
from pipeline.analysis.curves import thinned
from pipeline.analysis.sizes import WORDS, Sizes
from pipeline.analysis.statistics import Vector
from pipeline.analysis.summary import Row, difference_text, measure_of, told_apart
from pipeline.datasets.task import TASKS, Measure
from pipeline.formatting import number, signed
from pipeline.report.style import (
    BAND,
    GRID,
    INK,
    LARGE,
    LONG,
    MUTED,
    PANEL,
    PAPER,
    SHADE,
    SMALL,
    STYLE,
    TITLE,
    TRAIN,
    VALIDATION,
    VARIABLES,
    save,
    set_epochs,
    set_grid,
    spared,
)
from pipeline.results import PARAM, read_curves, task_of
from pipeline.techniques.registry import BASELINE

SHARES = {score.name for task in TASKS.values() for score in task.scores if score.share}
NOISY = re.compile(r"noise_([\d.]+)_accuracy")  # a column of runs.csv; the group is sigma
COSTS = {  # column -> axis label
    "seconds": "seconds per run",
    "epochs_run": "epochs run",
    "kernel_gzip_bytes": "kernels under gzip, bytes",
}


# Learning curves as numbers


def mean_curves(folder: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Thinned mean curves of a study's runs: one row per setting, technique and epoch.

    Each of the task's `curves` is a mean over the runs that still train, with the middle 80 % of
    them in `_low` and `_high`. A curve ends at the median of the epochs at which its runs end:
    later means would be of fewer than half of them. Raises UserError if the file or the curve of a
    run is missing.
    """
    measures = task_of(runs).curves
    curves = read_curves(folder, runs, measures).astype({"key": str})
    means = []
    for (setting, technique), group in runs.groupby(["setting", "technique"], sort=False):
        own = curves[curves["key"].isin(group["key"])]
        mean = _mean_curve(own, measures)
        means.append(mean.assign(setting=str(setting), technique=str(technique)))
    return pd.concat(means, ignore_index=True)


def _mean_curve(curves: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    end = int(curves.groupby("key")["epoch"].max().median())
    kept = curves[curves["epoch"].isin(thinned(end))].replace([np.inf, -np.inf], np.nan)
    by_epoch = kept.groupby("epoch")[list(measures)]
    parts = {"": by_epoch.mean()}
    parts |= {
        f"_{name}": by_epoch.quantile(q) for name, q in zip(("low", "high"), BAND, strict=True)
    }
    frames = [part.add_suffix(suffix) for suffix, part in parts.items()]
    return pd.concat(frames, axis=1).reset_index()


# Figures


@dataclass(frozen=True)
class Frame:
    """The limits of the axes that the learning curves of one measure and setting share."""

    epochs: int
    low: float
    high: float
    log: bool  # whether the vertical axis is logarithmic

    @property
    def long(self) -> bool:
        """Whether the epoch axis is logarithmic."""
        return self.epochs > LONG

    def height(self, value: float) -> float:
        """The height of a value as a fraction of the axis, limited to [0, 1].

        >>> Frame(epochs=10, low=0.5, high=1.0, log=False).height(0.75)
        0.5
        """
        low, high = (np.log(self.low), np.log(self.high)) if self.log else (self.low, self.high)
        scaled = np.log(max(value, self.low)) if self.log else value
        return float(np.clip((scaled - low) / (high - low), 0, 1))


def frame(curves: pd.DataFrame, measure: str) -> Frame:
    """The axes for a score or the loss, from the curves of all techniques of a setting."""
    epochs = max(int(curves["epoch"].max()), 2)
    if measure not in SHARES:
        columns = curves.columns.intersection([f"train_{measure}", f"val_{measure}"])
        losses = pd.concat([curves[name].where(curves[name] > 0).dropna() for name in columns])
        middle = float(losses.median()) if len(losses) else 1.0
        # A run that diverges would compress all others.
        near = losses[losses.between(middle / 10, middle * 10)]
        low, high = (float(near.min()), float(near.max())) if len(near) else (middle, middle)
        return Frame(epochs, low / 1.2, high * 1.2, log=True)
    # A technique that learns nothing would compress all others into the top of their panels.
    last = curves.groupby("technique")[f"val_{measure}"].last()
    usual = curves[curves["technique"].map(last) >= last.median() - 0.2]
    low = min(float(usual[[f"train_{measure}", f"val_{measure}"]].quantile(0.1).min()), 0.98)
    return Frame(epochs, low - 0.08 * (1 - low), 1 + 0.04 * (1 - low), log=False)


@spared
def curve_panel(curves: pd.DataFrame, technique: str, measure: str) -> Figure:
    """One technique's score or loss by epoch; `curves` holds all techniques of a setting."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.1))
        figure.subplots_adjust(left=0.135, right=0.83, bottom=0.2, top=0.9)
        _draw_curves(figure.add_subplot(), curves, technique, measure)
        return figure


@spared
def curve_grid(curves: pd.DataFrame, techniques: list[str], measure: str, title: str) -> Figure:
    """The panels of all `techniques` in one figure, three per row, under a title."""
    rows = -(-len(techniques) // 3)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 0.9 + 2.45 * rows))
        height = figure.get_figheight()
        figure.subplots_adjust(
            left=0.05,
            right=0.95,
            bottom=0.5 / height,
            top=1 - 0.8 / height,
            wspace=0.42,
            hspace=0.5,
        )
        figure.suptitle(title, x=0.02, y=1 - 0.2 / height, ha="left", va="top", fontsize=LARGE)
        for index, technique in enumerate(techniques, start=1):
            axes = figure.add_subplot(rows, 3, index)
            _draw_curves(axes, curves, technique, measure)
            axes.set_title(technique, loc="left", fontsize=PANEL, fontweight="bold")
        return figure


@spared
def forest(outcomes: Sequence[Sequence[Row]], width: float, title: str = "") -> Figure:
    """Differences to the baseline with their intervals: a group of rows for each outcome.

    Args:
        outcomes: for each outcome the rows of a summary that compare, drawn from top to bottom.
        width: in inches; figures of six or more have the numbers beside the marks.

    The thin bar is the simultaneous interval, of all that varied; the thick one that of seeds
    alone, where they are known. A difference far outside the others is an arrow at the edge.
    """
    counts = [len(rows) for rows in outcomes]
    heights = [0.9 + 0.3 * count for count in counts] or [1.0]
    with mpl.rc_context(STYLE):
        height = sum(heights) + (0.45 if title else 0)
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=TITLE)
        axes = figure.subplots(
            max(len(outcomes), 1), squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        for each, rows in zip(axes, outcomes, strict=False):
            _draw_outcome(each, rows, numbers=width >= 6)
        return figure


def _draw_outcome(axes: Axes, rows: Sequence[Row], numbers: bool) -> None:
    """One outcome's differences, under its title."""
    measure = measure_of(rows[0])
    axes.set(xlim=_forest_limits(rows, measure), ylim=(len(rows) - 0.4, -0.6))
    axes.axvline(0, color=MUTED, linewidth=1)
    for index, row in enumerate(rows):
        _draw_difference(axes, index, row, measure, numbers)
    axes.set_yticks(range(len(rows)), [row["technique"] for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    set_grid(axes, "x")
    axes.xaxis.set_major_locator(MaxNLocator(8 if numbers else 5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: signed(f"{x:+g}")))
    axes.set_xlabel(f"{measure.title}, percentage points" if measure.share else measure.title)
    sides = ("worse", "better")[:: measure.sign]
    for text, side, offset in ((f"← {sides[0]}", "right", -7), (f"{sides[1]} →", "left", 7)):
        axes.annotate(
            text,
            (0, 1),
            xytext=(offset, 2),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha=side,
            color=MUTED,
        )


@spared
def sizes_panels(found: Sizes) -> Figure:
    """The gain of each technique by size: a panel each, with intervals and the margin dotted."""
    measure, courses = found.measure, found.courses
    scale, x = measure.scale, np.arange(len(found.sizes))
    ends = [end * scale for each in courses for gain in each.gains for end in gain[1:]]
    ends = [end for end in ends if np.isfinite(end)] or [0.0]
    means = [gain.mean * scale for each in courses for gain in each.gains]
    reach = 2.5 * max(map(abs, means)) + 2 * scale * found.margin  # wide intervals are cut off
    low, high = max(min(*ends, 0.0), -reach), min(max(*ends, 0.0), reach)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.55 * len(courses), 2.5))
        figure.subplots_adjust(left=0.08, right=0.99, bottom=0.2, top=0.9, wspace=0.12)
        for index, each in enumerate(courses):
            axes = figure.add_subplot(1, len(courses), index + 1)
            axes.set_title(each.technique, fontsize=PANEL, loc="left")
            axes.axhline(0, color=MUTED, linewidth=0.9)
            axes.axhline(scale * found.margin, color=MUTED, linewidth=0.9, dashes=(1, 1))
            axes.plot(x, [scale * gain.mean for gain in each.gains], "-", color=TRAIN)
            for at, gain in enumerate(each.gains):
                axes.vlines(at, scale * gain.low, scale * gain.high, color=TRAIN)
                shown = gain.low > 0 or gain.high < 0
                face = TRAIN if shown else PAPER
                axes.plot(at, scale * gain.mean, "o", color=TRAIN, markerfacecolor=face)
            axes.set_xticks(x, [f"{size:,}" for size in found.sizes])
            axes.set_xlim(-0.4, len(x) - 0.6)
            axes.set_ylim(low - 0.06 * (high - low or 1), high + 0.06 * (high - low or 1))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            axes.set_xlabel(WORDS[found.what], labelpad=1)
            if index:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel(
                    f"gain in {measure.title}{measure.difference_unit and ','}"
                    f"{measure.difference_unit}"
                )
        return figure


@spared
def cost_panel(rows: pd.DataFrame, cost: str, measure: Measure) -> Figure:
    """The score `measure`, with its interval, against the mean of `cost`, a column of `rows`.

    `rows` has a technique in each row, with `mean`, `mean_low` and `mean_high` of the score. The
    names are right of the axes, in the order of the marks
    from top to bottom, each with a line to its mark.
    """
    rows = rows[np.isfinite(rows["mean"])].sort_values("mean", ascending=False, kind="stable")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, max(2.6, 0.75 + 0.2 * len(rows))))
        figure.subplots_adjust(left=0.12, right=0.6, bottom=0.45 / figure.get_figheight(), top=0.96)
        axes = figure.add_subplot()
        _set_cost(axes, rows[cost], cost)
        low, high = _cost_limits(rows, measure)
        axes.set_ylim(low, high)
        frame = Frame(2, low, high, log=False)
        heights = _apart([frame.height(measure.scale * value) for value in rows["mean"]])
        for height, row in zip(heights, rows.to_dict("records"), strict=True):
            _draw_cost(axes, row, cost, measure, height)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        set_grid(axes, "y")
        return figure


def noise_curves(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean test accuracy under input noise: a row per setting, technique and standard deviation.

    Made from the columns `noise_<sigma>_accuracy`. Has the columns `setting`, `technique`, `sigma`
    (in units of the input), `accuracy`, `low` and `high`; the last two are the ends of the 95 %
    interval over replicates.
    """
    sigmas = {
        float(match[1]): name for name in runs.columns if (match := NOISY.fullmatch(str(name)))
    }
    rows = []
    for (setting, technique), group in runs.groupby(["setting", "technique"], sort=False):
        for sigma in sorted(sigmas):
            estimate = paired.pairs(group, None, sigmas[sigma]).effect.interval()
            rows.append((setting, technique, sigma, *estimate))
    names = ["setting", "technique", "sigma", "accuracy", "low", "high"]
    return pd.DataFrame(rows, columns=names)


@spared
def noise_panel(curves: pd.DataFrame, technique: str) -> Figure:
    """One technique's accuracy in % by the noise's standard deviation; dotted: the baseline's.

    `curves` holds all techniques of a setting, from `noise_curves`.
    """
    low, high = _noise_limits(curves)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.1))
        figure.subplots_adjust(left=0.135, right=0.96, bottom=0.2, top=0.95)
        axes = figure.add_subplot()
        if technique != BASELINE:
            baseline = curves[curves["technique"] == BASELINE]
            axes.plot(
                baseline["sigma"],
                100 * baseline["accuracy"],
                color=MUTED,
                linewidth=1.2,
                dashes=(1, 1),
            )
        shown = curves[curves["technique"] == technique]
        axes.plot(shown["sigma"], 100 * shown["accuracy"], "o-", color=TRAIN, markersize=4)
        axes.vlines(shown["sigma"], 100 * shown["low"], 100 * shown["high"], color=TRAIN)
        _set_scores(axes, low, high)
        if 100 * shown["accuracy"].max() < low:
            axes.text(
                0.5, 0.08, "below this axis", color=MUTED, transform=axes.transAxes, ha="center"
            )
        axes.set_xticks(shown["sigma"], [f"{sigma:g}" for sigma in shown["sigma"]])
        axes.set_xlabel("standard deviation of the noise", labelpad=1)
        return figure


def _noise_limits(curves: pd.DataFrame) -> tuple[float, float]:
    """Limits in % that include all intervals except those of techniques that learn nothing."""
    still = curves.groupby("technique")["accuracy"].first()
    usual = curves[curves["technique"].map(still) >= still.median() - 0.2]
    low = 100 * float(usual["low"].fillna(usual["accuracy"]).min())
    high = 100 * float(usual["high"].fillna(usual["accuracy"]).max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


@dataclass(frozen=True)
class Searched:
    """One hyperparameter of one technique's search."""

    name: str
    low: float
    high: float
    log: bool
    chosen: tuple[float, ...]  # by each search
    article: float | None  # the article's value, if it has one


@spared
def strength_panel(
    trials: pd.DataFrame,
    searched: Searched,
    random: int,
    measure: Measure,
    limits: tuple[float, float],
) -> Figure:
    """The validation score against one hyperparameter, with a mark per trial of one technique.

    The first `random` trials are hollow. Pruned ones are small and grey, with the score they had
    when they were pruned. A value that a search chose has a diamond, the article's a dotted line. A
    trial worse than `limits` is a triangle at the edge.
    """
    x = trials[f"{PARAM}{searched.name}"].to_numpy(float)
    y = trials[measure.name].to_numpy(float)
    y, low, high = measure.scale * y, measure.scale * limits[0], measure.scale * limits[1]
    worst, far = (low, y < low) if measure.sign > 0 else (high, y > high)
    inward = 0.04 * measure.sign * (high - low)
    drawn_at_random = trials["trial"].to_numpy() < random
    pruned = trials["state"].to_numpy() == "pruned"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.1))
        figure.subplots_adjust(left=0.135, right=0.96, bottom=0.2, top=0.9)
        axes = figure.add_subplot()
        if searched.article is not None:
            axes.axvline(searched.article, color=MUTED, linewidth=1.2, dashes=(1, 1))
        for kind, color, size in ((pruned, MUTED, 3), (~pruned, TRAIN, 5)):
            for origin, face in ((drawn_at_random, PAPER), (~drawn_at_random, color)):
                shown = kind & origin
                inside, beyond = shown & ~far, shown & far
                style: Any = {"color": color, "markerfacecolor": face, "markersize": size}
                axes.plot(x[inside], y[inside], "o", **style)
                edge = np.full(beyond.sum(), worst + inward)
                axes.plot(x[beyond], edge, "v" if measure.sign > 0 else "^", **style)
        axes.plot(
            searched.chosen,
            [_best_at(value, x[~pruned], y[~pruned], worst, measure) for value in searched.chosen],
            "D",
            color=VALIDATION,
            markerfacecolor="none",
            markersize=11,
            clip_on=False,
        )
        _set_searched(axes, searched)
        _set_scores(axes, low, high)
        return figure


def _best_at(value: float, x: Vector, y: Vector, worst: float, measure: Measure) -> float:
    """The best score of the trials at a value; `worst`, the edge of the axis, without any."""
    scores = measure.sign * y[np.isclose(x, value)]
    return float(measure.sign * scores.max(initial=measure.sign * worst))


@spared
def tuning_panel(
    curve: pd.DataFrame,
    baseline: pd.DataFrame | None,
    measure: Measure,
    limits: tuple[float, float],
) -> Figure:
    """Best validation score after k trials, from `tuning_curve.tuning_curve`.

    Solid: expected best of k random trials; dashed: best so far of the search that follows them;
    dotted: the baseline.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.1))
        figure.subplots_adjust(left=0.135, right=0.83, bottom=0.2, top=0.9)
        axes = figure.add_subplot()
        if baseline is not None:
            best = measure.scale * baseline["expected"].fillna(baseline["best_so_far"])
            axes.plot(baseline["trials"], best, color=MUTED, linewidth=0.9, dashes=(1, 1))
        axes.plot(
            curve["trials"],
            measure.scale * curve["expected"],
            "o-",
            color=TRAIN,
            linewidth=1.4,
            markersize=3,
        )
        axes.plot(
            curve["trials"],
            measure.scale * curve["best_so_far"],
            "--",
            color=VALIDATION,
            linewidth=1.4,
            drawstyle="steps-post",
        )
        low, high = (measure.scale * limit for limit in limits)
        last = float(measure.scale * curve["best_so_far"].iloc[-1])
        height = Frame(2, low, high, log=False).height(last)
        axes.text(
            1.03,
            max(height, 0.1),
            f"best\n{last:.1f}" if measure.share else f"best\n{last:.3g}",
            color=VALIDATION if len(curve) > curve["expected"].count() else TRAIN,
            transform=axes.transAxes,
            va="center",
        )
        _set_scores(axes, low, high)
        axes.set_xlabel("trials", labelpad=1)
        axes.set_xlim(0.8, max(float(curve["trials"].max()), 2) + 0.2)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        return figure


def score_limits(scores: "pd.Series[float]", measure: Measure) -> tuple[float, float]:
    """Shared limits for validation scores, with a margin, without those far below the median."""
    scores = measure.sign * scores
    top, usual = float(scores.max()), float(scores.median())
    low = max(float(scores.min()), usual - max(3 * (top - usual), 0.02 if measure.share else 0))
    margin = 0.08 * (top - low) or 0.01 * (1 if measure.share else abs(top))
    ends = measure.sign * (low - margin), measure.sign * (top + margin)
    return min(ends), max(ends)


def _set_scores(axes: Axes, low: float, high: float) -> None:
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    set_grid(axes, "y")


def _set_searched(axes: Axes, searched: Searched) -> None:
    """Sets the horizontal axis to the search range, extended to the article's value."""
    ends = [searched.low, searched.high]
    if searched.article is not None:
        ends.append(searched.article)
    low, high = min(ends), max(ends)
    if searched.log and low > 0:
        axes.set_xscale("log")
        margin = (high / low) ** 0.04
        axes.set_xlim(low / margin, high * margin)
        narrow = high / low < 100
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,), numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        margin = 0.04 * (high - low)
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _power(x) if x < 0.01 else number(x)))
    scale = " (log scale)" if searched.log else ""
    axes.set_xlabel(searched.name.replace("_", " ") + scale, labelpad=1)


def _power(value: float) -> str:
    """A small number in short scientific notation, such as 1e-4."""
    return f"{value:.0e}".replace("e-0", "e-") if value else "0"


def _set_cost(axes: Axes, values: "pd.Series[float]", cost: str) -> None:
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high / low > 3
    if log:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.08, high * (high / low) ** 0.08)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        margin = 0.08 * (high - low) or 0.1 * high or 1.0
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: number(x)))
    axes.set_xlabel(COSTS[cost] + (" (log scale)" if log else ""), labelpad=1)


def _cost_limits(rows: pd.DataFrame, measure: Measure) -> tuple[float, float]:
    """Limits that include all intervals except those of techniques far below the median."""
    scale = measure.sign * measure.scale
    ends = [scale * rows[f"mean_{end}"].fillna(rows["mean"]) for end in ("low", "high")]
    worst, best = ends[:: measure.sign]
    usual, top = float(worst.median()), float(best.max())
    low = max(float(worst.min()), usual - max(3 * (top - usual), 1.0 if measure.share else 0))
    margin = 0.06 * (top - low) or 0.1 * (1 if measure.share else abs(top))
    limits = measure.sign * (low - margin), measure.sign * (top + margin)
    return min(limits), max(limits)


def _draw_cost(
    axes: Axes, row: Mapping[Any, Any], cost: str, measure: Measure, height: float
) -> None:
    """One technique's mark, its name at `height` right of the axes, and a line between them."""
    x, y = row[cost], measure.scale * row["mean"]
    color = MUTED if row["technique"] == BASELINE else TRAIN
    low, high = axes.get_ylim()
    ends = (measure.scale * row[f"mean_{end}"] for end in ("low", "high"))
    axes.vlines(x, *ends, color=color, alpha=0.45)
    inside, edge = low <= y <= high, 0.02 * (high - low)
    marker = "s" if row["technique"] == BASELINE else "o"
    beyond = "v" if y < low else "^"
    axes.plot(x, np.clip(y, low + edge, high - edge), marker if inside else beyond, color=color)
    axes.annotate(
        row["technique"] if inside else f"{row['technique']} {y:.3g}",
        (x, np.clip(y, low, high)),
        xytext=(1.06, height),
        textcoords="axes fraction",
        va="center",
        fontsize=SMALL,
        color=INK,
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-",
            "color": MUTED,
            "linewidth": 0.4,
            "shrinkB": 3,
            "relpos": (0, 0.5),
        },
    )


def _apart(heights: Sequence[float]) -> list[float]:
    """Descending heights in [0, 1], moved as little as necessary for labels not to overlap.

    >>> _apart([1.0, 1.0, 0.5])
    [1.0, 0.91, 0.5]
    """
    step = min(0.09, 1 / max(len(heights) - 1, 1))
    moved: list[float] = []
    for height in heights:
        moved.append(min(height, moved[-1] - step) if moved else min(height, 1.0))
    lowest = 0.0
    for index in reversed(range(len(moved))):
        moved[index] = max(moved[index], lowest)
        lowest = moved[index] + step
    return moved


def _draw_curves(axes: Axes, curves: pd.DataFrame, technique: str, measure: str) -> None:
    shown, limits = curves[curves["technique"] == technique], frame(curves, measure)
    _set_frame(axes, limits)
    if technique != BASELINE:
        baseline = curves[curves["technique"] == BASELINE]
        axes.plot(
            baseline["epoch"], baseline[f"val_{measure}"], color=MUTED, linewidth=0.9, dashes=(1, 1)
        )
    lines = [(f"val_{measure}", "val.", VALIDATION, "--")]
    if f"train_{measure}" in shown:
        gap = shown[f"val_{measure}"], shown[f"train_{measure}"]
        axes.fill_between(shown["epoch"], *gap, color=GRID, linewidth=0)
        lines.append((f"train_{measure}", "train", TRAIN, "-"))
    for column, _, color, dashes in lines:
        band = shown[f"{column}_low"], shown[f"{column}_high"]
        axes.fill_between(shown["epoch"], *band, color=color, alpha=SHADE, linewidth=0)
        axes.plot(shown["epoch"], shown[column], color=color, linewidth=1.4, linestyle=dashes)
    if max(float(shown[line[0]].max()) for line in lines) < limits.low:
        axes.text(0.5, 0.08, "below this axis", color=MUTED, transform=axes.transAxes, ha="center")
    last = shown.iloc[-1]
    _label_ends(axes, limits, [(float(last[line[0]]), line[1], line[2]) for line in lines])


def _label_ends(axes: Axes, limits: Frame, ends: list[tuple[float, str, str]]) -> None:
    """Writes each line's name and last value right of the axes, in order, without overlap."""
    heights = [limits.height(value) for value, _, _ in ends]
    if len(ends) == 2:
        heights = _spread(*heights)
    for (value, name, color), height in zip(ends, heights, strict=True):
        text = f"{value:.2g}" if limits.log else f"{100 * value:.1f}"
        axes.text(
            1.03, height, f"{name}\n{text}", color=color, transform=axes.transAxes, va="center"
        )


def _spread(first: float, second: float, apart: float = 0.24) -> list[float]:
    """Two heights in the same order, moved to be `apart` from each other and not too low."""
    half = max(abs(second - first), apart) / 2
    middle = max((first + second) / 2, half + 0.1)  # the labels of the epochs are below that
    return [middle - half, middle + half] if first <= second else [middle + half, middle - half]


def _set_frame(axes: Axes, limits: Frame) -> None:
    axes.set_ylim(limits.low, limits.high)
    set_epochs(axes, limits.epochs)
    if limits.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
    set_grid(axes, "y")


def _forest_limits(rows: Sequence[Row], measure: Measure) -> tuple[float, float]:
    """Limits that include zero and all intervals except those of extreme techniques."""
    means = measure.scale * np.array([row["difference"] for row in rows])
    ends = measure.scale * np.array(
        [[row[f"simultaneous_{end}"] for row in rows] for end in ("low", "high")]
    )
    lows, highs = np.where(np.isfinite(ends), ends, np.nan_to_num(means))
    reach = np.maximum(np.abs(lows), np.abs(highs))
    limit = max(4 * float(np.median(reach)), 0.1 if measure.share else 0)
    low, high = max(-limit, min(lows.min(), 0.0)), min(limit, max(highs.max(), 0.0))
    margin = 0.06 * (high - low) or 0.1
    return low - margin, high + margin


def _draw_difference(axes: Axes, y: int, row: Row, measure: Measure, numbers: bool) -> None:
    value, (low, high) = measure.scale * row["difference"], axes.get_xlim()
    color = TRAIN if told_apart(row) else MUTED
    filled = color if told_apart(row) else PAPER
    for name, width in (("simultaneous", 1.4), ("seeds", 4.0)):
        ends = (measure.scale * row[f"{name}_{end}"] for end in ("low", "high"))
        axes.hlines(y, *ends, color=color, linewidth=width)
    if low <= value <= high:
        axes.plot(value, y, "o", color=color, markerfacecolor=filled, markersize=6)
    elif np.isfinite(value):
        text = "" if numbers else measure.difference(row["difference"])
        _draw_arrow(axes, y, text, value > 0, color)
    if numbers:
        axes.text(1.03, y, difference_text(row), transform=axes.get_yaxis_transform(), va="center")


def _draw_arrow(axes: Axes, y: int, text: str, right: bool, color: str) -> None:
    """An arrow at the edge for a difference outside the axes, with a text beside it."""
    edge, marker, side, step = (1, ">", "right", -1) if right else (0, "<", "left", 1)
    across = axes.get_yaxis_transform()
    axes.plot(edge + 0.015 * step, y, marker, color=color, transform=across)
    axes.annotate(
        text,
        (edge, y),
        xytext=(11 * step, 0),
        xycoords=across,
        textcoords="offset points",
        ha=side,
        va="center",
    )


# Files


def svg(figure: Figure, name: str, description: str) -> str:
    """A figure as an inline `<svg>` that scales with the page, labelled with `description`.

    Colours become variables such as `var(--ink)`, with those of the light theme as a fallback.
    `name` makes the ids of the figures on a page unique.
    """
    name = re.sub(r"[^\w.-]", "-", name)
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        save(figure, buffer, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text[text.index("<svg") :])
    # Nothing refers to an image's id, and equal images have equal ones.
    text = re.sub(r'(<image [^>]*?)\bid="[^"]*"', r"\1", text)
    text = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", text, count=1)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var(--{variable}, {color})")
    label = html.escape(description, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
