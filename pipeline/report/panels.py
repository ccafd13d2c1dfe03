"""Galleries of a setting: figures of single techniques with title, note and legend."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.analysis import predicted
from pipeline.analysis.predicted import Predicted
from pipeline.formatting import counted, percent
from pipeline.report import figures, model_figures, prediction_figures
from pipeline.report.model_figures import Arrays
from pipeline.techniques.registry import BASELINE

INSPECTED = 0  # the search and the seed whose runs `inspections.npz` shows


@dataclass(frozen=True)
class Panel:
    """A small figure under a title."""

    title: str
    svg: Markup
    technique: str = BASELINE  # whose figure it is; the baseline for figures of all techniques


@dataclass(frozen=True)
class Gallery:
    """The same figure for every technique."""

    kind: str  # one word, for file names
    title: str
    note: str
    panels: list[Panel]
    key: tuple[tuple[str, str], ...] = ()  # the legend: style class and words


@dataclass(frozen=True)
class Source:
    """The data of one setting's galleries; techniques are in the order of the page."""

    where: str  # study and setting, such as Circles, tuned setting
    name: str  # one word, unique among the settings of a page
    n: int  # replicates
    techniques: list[str]
    runs: pd.DataFrame  # of the setting
    noise: pd.DataFrame  # of the setting, from `figures.noise_curves`
    inspected: Mapping[str, Arrays]  # technique -> arrays, from `model_figures.read`
    # Of people's own data: technique -> predictions of its runs, for the baseline and the best.
    predicted: Mapping[str, Sequence[Predicted]]
    classes: Sequence[str]  # their names; of a regression none


def galleries(source: Source) -> list[Gallery]:
    """The galleries that have data: boundaries need points in the plane, filters need images."""
    return [
        gallery
        for make in (_boundaries, _weights, _filters, _whitening, _noise)
        for gallery in make(source)
    ]


def predictions(source: Source) -> list[Gallery]:
    """What models predict: confusion matrices and ROC curves, or residuals; none without them."""
    if not source.predicted:
        return []
    if not source.classes:
        return [_residuals(source)]
    return [_confusion(source), *([_roc(source)] if len(source.classes) == 2 else [])]


def _confusion(source: Source) -> Gallery:
    right, classes = {}, len(source.classes)
    for name, runs in source.predicted.items():
        table = predicted.confusion(runs, classes)
        right[name] = f"{table.trace():.1f} of {table.sum():.0f} right"
    few = classes <= prediction_figures.MOST
    return Gallery(
        "confusion",
        "Which classes are taken for which",
        "Test examples by their class (rows) and by the class that is predicted (columns): counts,"
        f" means of {counted(source.n, 'replicate')}. Stronger colour: a larger share of the row."
        + ("" if few else f" Classes are in the order {', '.join(source.classes)}."),
        [
            _panel(
                source,
                "confusion",
                name,
                prediction_figures.confusion_panel(runs, source.classes),
                f"{name}: {right[name]}",
                f"means of {counted(source.n, 'replicate')}",
            )
            for name, runs in source.predicted.items()
        ],
    )


def _roc(source: Source) -> Gallery:
    curves = {name: predicted.roc(runs) for name, runs in source.predicted.items()}
    areas = predicted.areas(source.predicted)
    return Gallery(
        "roc",
        f"ROC curves of {source.classes[1]}",
        f"The share of {source.classes[1]} that is found against the share of {source.classes[0]}"
        " that is taken for it, at every threshold of the probability: mean over the runs of"
        f" {counted(source.n, 'replicate')}. The thin line is chance. The title has the mean area"
        " under the curve.",
        [
            _panel(
                source,
                "roc",
                name,
                prediction_figures.roc_panel(
                    curve, None if name == BASELINE else curves.get(BASELINE)
                ),
                f"{name}: area {areas[name]:.3f}",
                f"mean of {counted(source.n, 'replicate')}",
            )
            for name, curve in curves.items()
        ],
        (("train", "the technique"), ("baseline", "without regularization")),
    )


def _residuals(source: Source) -> Gallery:
    first = {name: runs[0] for name, runs in source.predicted.items()}
    limits = prediction_figures.residual_limits([*first.values()])
    return Gallery(
        "residuals",
        "Residuals",
        "Target minus prediction against the prediction, in the target's own unit, for at most"
        " 1,000 test examples of the first run. A good model has a level band about zero.",
        [
            _panel(
                source,
                "residuals",
                name,
                prediction_figures.residual_panel(run, limits),
                name,
                "first run",
            )
            for name, run in first.items()
        ],
    )


def activations(source: Source) -> tuple[Markup, Markup] | None:
    """The map of active units for a wide page and for a phone; None if no model was inspected."""
    shown = {name: source.inspected[name] for name in source.techniques if name in source.inspected}
    if not shown:
        return None
    label = (
        f"{source.where}: share of test examples for which hidden units are active,"
        f" seed {INSPECTED}."
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
        names = source.classes or ("class 0", "class 1")
        yield Gallery(
            "boundary",
            "Decision boundaries",
            "What each model predicts in the plane: stronger colour means more confidence, and on"
            " the line both classes are equally likely. All models met the same training points and"
            f" started from the same weights, seed {INSPECTED} of replicate {INSPECTED}; 300 test"
            " points are small.",
            panels,
            (("circle", names[0]), ("square", names[1])),
        )


def _weights(source: Source) -> Iterator[Gallery]:
    if not source.inspected:
        return
    edges = model_figures.weight_edges(source.inspected)
    baseline = source.inspected.get(BASELINE)
    of_one = (source.runs["seed"] == INSPECTED) & (source.runs["search"] == INSPECTED)
    seen = source.runs[of_one].set_index("technique")

    def draw(arrays: Arrays) -> Figure:
        return model_figures.weight_panel(arrays, None if arrays is baseline else baseline, edges)

    def title(name: str) -> str:
        zero, near = (100 * seen[f"{kind}_weights"][name] for kind in ("zero", "near_zero"))
        return f"{name}: {zero:.1f} % zero, {near:.1f} % near zero"

    yield Gallery(
        "weights",
        "Weights, in % of all by value",
        "All kernels of one model, without biases; the vertical axis is logarithmic. Weights"
        " beyond the axis count in the outermost bins. Near zero: smaller than 0.001."
        f" Seed {INSPECTED} of replicate {INSPECTED}.",
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
            " unit as an image. Every panel has the same units, which started from the same"
            f" weights, and its own colour scale. Seed {INSPECTED} of replicate {INSPECTED}.",
            panels,
            (("square", "positive weight"), ("negative", "negative weight")),
        )


def _whitening(source: Source) -> Iterator[Gallery]:
    panels = list(_inspected(source, "whitened", model_figures.whitening_panel, lambda name: name))
    if panels:
        yield Gallery(
            "whitening",
            "Whitened images",
            "Test images (above) and the output of the fixed first layer (below), which removes"
            " the correlations between pixels, estimated on the training images.",
            panels,
            (("square", "positive value"), ("negative", "negative value")),
        )


def _noise(source: Source) -> Iterator[Gallery]:
    if source.noise.empty:
        return

    def label(name: str) -> str:
        rows = source.noise[source.noise["technique"] == name].to_dict("records")
        values = "; ".join(f"at {row['sigma']:g}: {percent(row['accuracy'])}" for row in rows)
        return f"means of {counted(source.n, 'replicate')}, {values}"

    mean = source.runs.groupby("technique")["noise_accuracy"].mean()
    yield Gallery(
        "noise",
        "Test accuracy in % under input noise",
        "Gaussian noise is added to at most 2,000 test inputs, the same noise for every run; its"
        " standard deviation is in units of the input. Mean of"
        f" {counted(source.n, 'replicate')} with its 95 % interval. The title gives the mean of the"
        " curve.",
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
                source,
                needed,
                name,
                draw(arrays),
                title(name),
                f"seed {INSPECTED} of replicate {INSPECTED}",
            )


def _panel(
    source: Source, kind: str, technique: str, figure: Figure, title: str, details: str
) -> Panel:
    label = f"{source.where}, {kind}: {title}, {details}."
    name = f"{source.name}-{kind}-{technique}"
    return Panel(title, Markup(figures.svg(figure, name, label)), technique)
