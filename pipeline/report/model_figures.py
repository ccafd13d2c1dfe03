"""Figures of trained models: decision boundaries, weights, activations, filters, whitened images.

Drawn from `inspections.npz`, which has the arrays that `inspection.inspect` made for one run per
technique and setting. A figure shows one technique. All techniques of a setting have the same axes
or colours, so that their figures can be compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pipeline.formatting import signed
from pipeline.report.style import (
    INK,
    LARGE,
    MUTED,
    PAPER,
    SMALL,
    STYLE,
    TRAIN,
    VALIDATION,
    set_grid,
    spared,
)
from pipeline.results import read_inspections

Arrays = Mapping[str, np.ndarray]

BINS = 61  # of a histogram; odd, so that zero is in the middle of a bin
COLUMNS = 240  # of an activation map
LARGEST = float(np.finfo(np.float16).max)  # what the file can hold; beyond it is infinite
OFFSETS = (0.58, 1.14)  # of the numbers right of an activation map, in inches


def read(folder: Path) -> dict[str, dict[str, Arrays]]:
    """Setting -> technique -> arrays by name, as float64, clipped to what float16 holds.

    Raises UserError without the file.
    """
    inspected: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for setting, technique, name, array in read_inspections(folder):
        own = inspected.setdefault(setting, {}).setdefault(technique, {})
        own[name] = np.nan_to_num(array.astype(np.float64), posinf=LARGEST, neginf=-LARGEST)
    return {setting: dict(techniques) for setting, techniques in inspected.items()}


# The plane


@spared
def boundary_panel(arrays: Arrays) -> Figure:
    """The classes that a model predicts in the plane, and the points.

    Stronger colour means more confidence; on the line both classes are equally likely. Training
    points are large, test points small; class 1 has squares.
    """
    extent = arrays["extent"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 3.1))
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
        plane = arrays["plane"]
        shades = _two_hues(2 * plane - 1, 0.4)
        axes.imshow(shades, extent=tuple(extent), origin="lower", interpolation="none")
        if plane.min() < 0.5 < plane.max():
            axes.contour(plane, [0.5], extent=tuple(extent), colors=INK, linewidths=1.2)
        for part, size, edge in (("test", 5, "none"), ("train", 26, PAPER)):
            for label, marker, color in ((0, "o", TRAIN), (1, "s", VALIDATION)):
                x, y = arrays[part][arrays[part][:, 2] == label, :2].T
                axes.scatter(x, y, size, color, marker=marker, edgecolors=edge, linewidths=0.8)
        axes.set_axis_off()
        axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
        return figure


def _two_hues(values: np.ndarray, strongest: float) -> np.ndarray:
    """Values in [-1, 1] as RGBA: blue below zero, vermilion above, transparent at zero."""
    colors = np.where(values[..., None] < 0, to_rgb(TRAIN), to_rgb(VALIDATION))
    return np.concatenate([colors, strongest * np.abs(values)[..., None].clip(0, 1)], axis=-1)


# Weights


def weight_edges(inspected: Mapping[str, Arrays]) -> np.ndarray:
    """The histograms' shared bins, (BINS + 1,), symmetric about zero.

    They cover the weights of all techniques, except very large weights of single techniques.
    """
    reaches = [np.quantile(np.abs(arrays["weights"]), 0.998) for arrays in inspected.values()]
    reach = min(max(reaches), 1.5 * float(np.median(reaches))) or 1.0
    return np.linspace(-reach, reach, BINS + 1)


def weight_shares(arrays: Arrays, edges: np.ndarray) -> np.ndarray:
    """The share of a model's weights in each bin; the outermost bins include those beyond."""
    counts, _ = np.histogram(np.clip(arrays["weights"], edges[0], edges[-1]), edges)
    return counts / len(arrays["weights"])


@spared
def weight_panel(arrays: Arrays, baseline: Arrays | None, edges: np.ndarray) -> Figure:
    """The distribution of a model's weights, in % on a log scale; dotted: the baseline."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 2.1))
        figure.subplots_adjust(left=0.155, right=0.96, bottom=0.2, top=0.95)
        axes = figure.add_subplot()
        least = 0.005
        axes.stairs(
            100 * weight_shares(arrays, edges), edges, baseline=least, fill=True, color=TRAIN,
            alpha=0.25,
        )  # fmt: skip
        axes.stairs(100 * weight_shares(arrays, edges), edges, baseline=least, color=TRAIN)
        if baseline is not None:
            axes.stairs(
                100 * weight_shares(baseline, edges), edges, baseline=least, color=MUTED,
                linestyle=(0, (1, 1)), linewidth=1.2,
            )  # fmt: skip
        axes.set(yscale="log", xlim=(edges[0], edges[-1]), ylim=(least, 130))
        axes.yaxis.set_major_locator(FixedLocator([0.01, 0.1, 1, 10, 100]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: signed(f"{x:g}")))
        axes.set_xlabel("weight", labelpad=1)
        set_grid(axes, "y")
        return figure


# Activations


@spared
def activation_map(inspected: Mapping[str, Arrays], width: float) -> Figure:
    """For each technique and hidden layer, the share of examples that activate its units.

    A row of the map is a layer, the first one on top. Its units are sorted; darker ones are active
    for more examples. The numbers are the mean share, and the share of units that no example
    activates, in %.
    """
    layers = {technique: _layers(arrays) for technique, arrays in inspected.items()}
    rows = sum(len(shares) for shares in layers.values())
    with mpl.rc_context(STYLE):
        height = 0.75 + 0.17 * rows + 0.1 * len(layers)
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=1.5 / width, right=1 - 1.2 / width, bottom=0.42 / height, top=1 - 0.3 / height
        )
        axes, top = figure.add_subplot(), 0.0
        for technique, shares in layers.items():
            _draw_activations(axes, technique, shares, top)
            top += len(shares) + 0.6
        axes.set(xlim=(0, 100), ylim=(top - 0.6, 0))
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("% of the layer's units, most active first", labelpad=1)
        for x, text in zip(OFFSETS, ("active, %", "dead, %"), strict=True):
            axes.annotate(
                text,
                (1, 1),
                xytext=(72 * x, 3),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="right",
                color=MUTED,
            )
        return figure


def _layers(arrays: Arrays) -> list[np.ndarray]:
    """For each hidden layer, the share of examples that activate each unit."""
    prefix = "active_"
    names = [name for name in arrays if name.startswith(prefix)]
    names.sort(key=lambda name: int(name.removeprefix(prefix)))
    return [arrays[name] for name in names]


def _draw_activations(axes: Axes, technique: str, layers: Sequence[np.ndarray], y: float) -> None:
    """One technique's layers from `y` down, with its name on the left and numbers on the right."""
    for row, shares in enumerate(layers):
        units = np.sort(shares)[::-1]
        shown = units[np.arange(COLUMNS) * len(units) // COLUMNS]
        strip = _two_hues(-shown[None], 0.9)
        bottom, top = y + row + 0.96, y + row + 0.04
        axes.imshow(strip, extent=(0, 100, bottom, top), aspect="auto", interpolation="none")
        across = axes.get_yaxis_transform()
        numbers = (np.mean(units), np.mean(units == 0))
        for x, share in zip(OFFSETS, numbers, strict=True):
            axes.annotate(
                f"{100 * share:.1f}",
                (1, y + row + 0.5),
                xytext=(72 * x, 0),
                xycoords=across,
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=SMALL,
            )
    axes.annotate(
        technique,
        (0, y + len(layers) / 2),
        xytext=(-5, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        va="center",
    )


# Images


@spared
def filter_panel(arrays: Arrays) -> Figure:
    """The weights of the first units, each as an image.

    Positive weights are vermilion, negative ones blue; the largest has the strongest colour.
    """
    filters = arrays["filters"]
    largest = float(np.abs(filters).max())
    figure = _mosaic(filters / (largest or 1.0), 4)
    with mpl.rc_context(STYLE):
        figure.text(
            0.5, 0.01, f"largest |w| {largest:.2g}", ha="center", va="bottom", fontsize=LARGE
        )
    return figure


@spared
def whitening_panel(arrays: Arrays) -> Figure:
    """Images, and below them the whitened images."""
    scaled = [
        images / (np.abs(images).max() or 1.0) for images in (arrays["images"], arrays["whitened"])
    ]
    return _mosaic(np.concatenate(scaled), 6)


def _mosaic(images: np.ndarray, across: int) -> Figure:
    """Images with values in [-1, 1], (n, height, width), in rows with space between them."""
    _, height, width = images.shape
    rows = -(-len(images) // across)
    canvas = np.zeros((rows * (height + 1) - 1, across * (width + 1) - 1, 4))
    for index, image in enumerate(images):
        row, column = divmod(index, across)
        top, left = row * (height + 1), column * (width + 1)
        canvas[top : top + height, left : left + width] = _two_hues(image, 1.0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.1, 3.1 * canvas.shape[0] / canvas.shape[1] + 0.3))
        share = 0.3 / figure.get_figheight()
        axes = figure.add_axes((0.02, share, 0.96, 1 - share))
        axes.imshow(canvas, interpolation="none")
        axes.set_axis_off()
        return figure
