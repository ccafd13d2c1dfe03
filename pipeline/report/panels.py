"""A setting's figures of single techniques, ready for the page: title, note, legend and panels."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.analysis.summary import BASELINE
from pipeline.formatting import percent
from pipeline.report import figures, model_figures
from pipeline.report.model_figures import Arrays

INSPECTED = 0  # the seed whose runs `inspections.npz` shows


@dataclass(frozen=True)
class Panel:
    """A small figure under a title."""

    title: str
    svg: Markup
    technique: str = BASELINE  # whose figure it is; that of all is the baseline's


@dataclass(frozen=True)
class Gallery:
    """Panels that show the same of every technique."""

    kind: str  # one word, for names of files
    title: str
    note: str
    panels: list[Panel]
    key: tuple[tuple[str, str], ...] = ()  # of the legend: style class and words


@dataclass(frozen=True)
class Source:
    """What the galleries of one setting are drawn from; techniques in the order of the page."""

    where: str  # such as Circles, tuned setting
    name: str  # one word that no other setting on a page has
    n: int  # paired seeds
    techniques: list[str]
    runs: pd.DataFrame  # of the setting
    noise: pd.DataFrame  # of the setting, from `figures.noise_curves`
    inspected: Mapping[str, Arrays]  # technique -> arrays, from `interior.read`


def galleries(source: Source) -> list[Gallery]:
    """Those for which there are numbers: boundaries of points in the plane, filters of images."""
    return [
        each
        for make in (_boundaries, _weights, _filters, _whitening, _noise)
        for each in make(source)
    ]


def activations(source: Source) -> tuple[Markup, Markup] | None:
    """The map of active units, for a wide page and for a phone; None if nothing was inspected."""
    shown = {name: source.inspected[name] for name in source.techniques if name in source.inspected}
    if not shown:
        return None
    label = (
        f"{source.where}: share of test rows for which hidden units are active, seed {INSPECTED}."
    )
    wide, narrow = (
        Markup(
            figures.svg(
                model_figures.activation_map(shown, width), f"{source.name}-active-{width:g}", label
            )
        )
        for width in (7.6, 3.7)
    )
    return wide, narrow


def _boundaries(source: Source) -> Iterator[Gallery]:
    panels = list(_inspected(source, "plane", model_figures.boundary_panel, lambda name: name))
    if panels:
        yield Gallery(
            "boundary",
            "Decision boundaries",
            "The plane as each model sees it: fuller colour is more confidence, and on the line"
            " both classes are as likely. All models met the same training points and started from"
            f" the same weights, seed {INSPECTED} of {source.n}; 300 test points are small.",
            panels,
            (("circle", "outer circle, class 0"), ("square", "inner circle, class 1")),
        )


def _weights(source: Source) -> Iterator[Gallery]:
    if not source.inspected:
        return
    edges = model_figures.weight_edges(source.inspected)
    baseline = source.inspected.get(BASELINE)
    seen = source.runs[source.runs["seed"] == INSPECTED].set_index("technique")

    def draw(arrays: Arrays) -> Figure:
        return model_figures.weight_panel(arrays, None if arrays is baseline else baseline, edges)

    def title(name: str) -> str:
        zero, near = (100 * seen[f"{kind}_weights"][name] for kind in ("zero", "near_zero"))
        return f"{name}: {zero:.1f} % zero, {near:.1f} % near zero"

    yield Gallery(
        "weights",
        "Weights, in % of all by value",
        "All kernels of one model, biases left out; the vertical axis is logarithmic. Weights"
        " beyond the axis count in its outermost bins. Near zero: smaller than 0.001."
        f" Seed {INSPECTED} of {source.n}.",
        list(_inspected(source, "weights", draw, title)),
        (("train", "the technique"), ("baseline", "without regularization")),
    )


def _filters(source: Source) -> Iterator[Gallery]:
    panels = list(_inspected(source, "filters", model_figures.filter_panel, lambda name: name))
    if panels:
        yield Gallery(
            "filters",
            "First-layer filters",
            "The weights between the pixels and the first units of the first trained layer, each"
            " unit as an image. The same units in every panel, which started from the same"
            f" weights. The colours' scale is each panel's own. Seed {INSPECTED} of {source.n}.",
            panels,
            (("square", "positive weight"), ("negative", "negative weight")),
        )


def _whitening(source: Source) -> Iterator[Gallery]:
    panels = list(_inspected(source, "whitened", model_figures.whitening_panel, lambda name: name))
    if panels:
        yield Gallery(
            "whitening",
            "Whitened images",
            "Test images above, and below what the fixed first layer makes of them: correlations"
            " between pixels, fitted on the training images, are taken out.",
            panels,
            (("square", "positive value"), ("negative", "negative value")),
        )


def _noise(source: Source) -> Iterator[Gallery]:
    if source.noise.empty:
        return

    def label(name: str) -> str:
        rows = source.noise[source.noise["technique"] == name].to_dict("records")
        values = "; ".join(f"at {row['sigma']:g}: {percent(row['accuracy'])}" for row in rows)
        return f"means of {source.n} seeds, {values}"

    mean = source.runs.groupby("technique")["noise_accuracy"].mean()
    yield Gallery(
        "noise",
        "Test accuracy in % under input noise",
        "Gaussian noise is added to at most 2,000 test inputs, the same noise for every run; its"
        f" standard deviation is in units of the input. Mean of {source.n} seeds with its 95 %"
        " interval; in the title, the mean height of the curve.",
        [
            _panel(
                source,
                "noise",
                name,
                figures.noise_panel(source.noise, name),
                f"{name}: {percent(mean[name])} %",
                label(name),
            )
            for name in source.techniques
        ],
        (("train", "the technique"), ("baseline", "without regularization")),
    )


def _inspected(
    source: Source, needed: str, draw: Callable[[Arrays], Figure], title: Callable[[str], str]
) -> Iterator[Panel]:
    """A panel for each technique that was inspected and has the array `needed`."""
    for name in source.techniques:
        arrays = source.inspected.get(name, {})
        if needed in arrays:
            yield _panel(
                source, needed, name, draw(arrays), title(name), f"seed {INSPECTED} of {source.n}"
            )


def _panel(
    source: Source, kind: str, technique: str, figure: Figure, title: str, told: str
) -> Panel:
    label = f"{source.where}, {kind}: {title}, {told}."
    name = f"{source.name}-{kind}-{technique}"
    return Panel(title, Markup(figures.svg(figure, name, label)), technique)
