"""Figures of what models predict for test examples, each of one technique.

The figures of one setting share their axes, so that techniques can be compared.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.analysis.effects import Matrix
from pipeline.analysis.predicted import RATES, Predicted, confusion
from pipeline.analysis.statistics import Vector
from pipeline.formatting import number
from pipeline.report.style import INK, MUTED, SMALL, STYLE, TRAIN, set_grid, spared

MOST = 10  # classes whose counts and names have room
LONGEST = 9  # characters of a class's name
STRONGEST = 0.45  # opacity of a cell, on which its number can be read in light and dark
POINTS = 1000  # of a residual figure, at most


@spared
def confusion_panel(runs: Sequence[Predicted], classes: Sequence[str]) -> Figure:
    """Test examples by class and predicted class: mean counts, coloured by the row's share."""
    table = confusion(runs, len(classes))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.9))
        figure.subplots_adjust(left=0.26, right=0.98, bottom=0.2, top=0.98)
        axes = figure.add_subplot()
        axes.imshow(_shades(table), aspect="auto", interpolation="none")
        few = len(classes) <= MOST
        if few:
            for (row, column), count in np.ndenumerate(table):
                axes.text(column, row, _count(count), ha="center", va="center", fontsize=SMALL)
        names = [_short(name) for name in classes] if few else []
        ticks = range(len(names))
        crowded = sum(map(len, names)) > 3 * MOST
        axes.set_xticks(ticks, names, rotation=90 if crowded else 0, fontsize=SMALL)
        axes.set_yticks(ticks, names, fontsize=SMALL)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted", labelpad=1)
        axes.set_ylabel("class", labelpad=1)
        if crowded:
            figure.subplots_adjust(bottom=0.33)
        return figure


def _shades(table: Matrix) -> np.ndarray:
    """Cells as RGBA: stronger for a larger share of the row."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    colors = np.broadcast_to(to_rgb(TRAIN), (*table.shape, 3))
    return np.concatenate([colors, STRONGEST * shares[..., None]], axis=-1)


def _count(count: float) -> str:
    """A mean count in few characters."""
    return number(count) if count >= 10 or count == int(count) else f"{count:.1f}"


def _short(name: str) -> str:
    """A name or its two ends, which tell more than its beginning."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 4]}…{name[-3:]}"


@spared
def roc_panel(curve: Vector, baseline: Vector | None) -> Figure:
    """A mean ROC curve in %, of `predicted.roc`; dotted: the baseline's."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.9))
        figure.subplots_adjust(left=0.16, right=0.96, bottom=0.16, top=0.97)
        axes = figure.add_subplot()
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.6)
        if baseline is not None:
            axes.plot(100 * RATES, 100 * baseline, color=MUTED, linewidth=1.2, dashes=(1, 1))
        axes.plot(100 * RATES, 100 * curve, color=TRAIN)
        axes.set(xlim=(-2, 102), ylim=(-2, 102))
        axes.set_xlabel("false positives, %", labelpad=1)
        axes.set_ylabel("true positives, %", labelpad=1)
        set_grid(axes, "y")
        return figure


@spared
def residual_panel(run: Predicted, limits: Mapping[str, tuple[float, float]]) -> Figure:
    """Target minus prediction against the prediction, of at most 1,000 test examples.

    `limits`: of the axes x and y, from `residual_limits`.
    """
    predicted = run.outputs[:, 0].astype(np.float64)
    stride = -(-len(predicted) // POINTS)
    residuals = run.targets.astype(np.float64) - predicted
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.4))
        figure.subplots_adjust(left=0.2, right=0.97, bottom=0.19, top=0.97)
        axes = figure.add_subplot()
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.scatter(
            predicted[::stride], residuals[::stride], 9, TRAIN, alpha=0.5, edgecolors="none"
        )
        axes.set(xlim=limits["x"], ylim=limits["y"])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("predicted", labelpad=1)
        axes.set_ylabel("target minus predicted", labelpad=1)
        set_grid(axes, "y")
        return figure


def residual_limits(runs: Sequence[Predicted]) -> dict[str, tuple[float, float]]:
    """The axes that hold the predictions and residuals of all these runs."""
    predicted = np.concatenate([each.outputs[:, 0].astype(np.float64) for each in runs])
    targets = np.concatenate([each.targets.astype(np.float64) for each in runs])
    return {"x": _around(predicted), "y": _around(targets - predicted)}


def _around(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
