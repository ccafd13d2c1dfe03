"""The style of figures in the report and in MLflow: colours, sizes, the epoch axis, PNG files.

Colours are few, can be distinguished with every common form of colour blindness, and are never the
only distinction.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.files import replace

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


def png(figure: "Figure", path: Path, dpi: int = DPI, crop: bool = False) -> None:
    """Writes a figure as PNG on white; `crop` cuts its margins, for which it is drawn twice."""

    def write(scratch: Path) -> None:
        figure.savefig(
            scratch,
            dpi=dpi,
            bbox_inches="tight" if crop else None,
            facecolor="white",
            metadata={"Software": None},
        )

    replace(path, write)
