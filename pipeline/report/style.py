"""The style of figures in the report and in MLflow: colours, sizes, the epoch axis, PNG files.

Colours are few, can be distinguished with every common form of colour blindness, and are never the
only distinction.
"""

import io
import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from pipeline.files import refused_write, replace

if TYPE_CHECKING:  # matplotlib takes a second to import, and not every stage draws
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#23272f", "#6a7280", "#e3e6eb", "#fffffe"
TRAIN, VALIDATION = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion
VARIABLES = {  # CSS variables, with which a page switches between light and dark
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    TRAIN: "train",
    VALIDATION: "validation",
}
SMALL, TEXT, PANEL, TITLE, LARGE = 8, 9, 9.5, 10, 11  # font sizes in points
STYLE: Any = {
    "font.size": TEXT,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",  # text stays text: searchable, sharp, in the font of the page
    "svg.hashsalt": "figures",  # the same results give the same file
}
BAND = (0.1, 0.9)  # quantiles over the seeds
SHADE = 0.18  # opacity of a band
LONG = 300  # epochs; with more, the axis is logarithmic, so that early epochs can be seen
DPI = 130  # of PNG files

_log = logging.getLogger(__name__)


def set_epochs(axes: "Axes", epochs: int) -> None:
    """The horizontal axis from epoch 1 to `epochs`, logarithmic beyond `LONG`."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    long = epochs > LONG
    axes.set_xlim(1, epochs)
    axes.set_xlabel("epoch (log scale)" if long else "epoch", labelpad=1)
    if long:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def set_grid(axes: "Axes", axis: Literal["x", "y"]) -> None:
    """Thin grid lines behind the data."""
    axes.grid(axis=axis, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


Drawn = ParamSpec("Drawn")


def spared(draw: "Callable[Drawn, Figure]") -> "Callable[Drawn, Figure]":
    """Lets a figure that fails cost only itself: it says so in its place, and in a warning.

    A report comes after hours of training, of which other figures and all tables are right.
    """

    @wraps(draw)
    def drawn(*given: Drawn.args, **named: Drawn.kwargs) -> "Figure":
        try:
            return draw(*given, **named)
        except Exception as error:
            _log.warning("%s cannot be drawn: %s: %s", draw.__name__, type(error).__name__, error)
            return _instead()

    return drawn


def save(figure: "Figure", target: Path | io.StringIO, **options: Any) -> None:
    """Saves a figure as matplotlib does, or one that says that it cannot be drawn; see `spared`.

    Raises what a folder that takes no files raises, which is no fault of the figure.
    """
    try:
        figure.savefig(target, **options)
    except Exception as error:
        if isinstance(target, Path) and refused_write(error, [target.parent]):
            raise
        _log.warning("a figure cannot be drawn: %s: %s", type(error).__name__, error)
        if isinstance(target, io.StringIO):
            target.seek(0)
            target.truncate()
        _instead().savefig(target, **options)


def _instead() -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.1, 2.1))
    figure.text(0.5, 0.5, "cannot be drawn", ha="center", va="center", color=MUTED)
    return figure


def png(figure: "Figure", path: Path, dpi: int = DPI, crop: bool = False) -> None:
    """Writes a figure as PNG on white; `crop` cuts its margins, for which it is drawn twice."""

    def write(scratch: Path) -> None:
        save(
            figure,
            scratch,
            dpi=dpi,
            bbox_inches="tight" if crop else None,
            facecolor="white",
            metadata={"Software": None},
        )

    replace(path, write)
