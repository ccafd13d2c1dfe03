"""Figures of one technique for its parent run in MLflow: Optuna's plots of its search, its curves.

PNG files, which MLflow shows beside the run. They are drawn without a display.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from pipeline.analysis.curves import thinned
from pipeline.datasets.task import CLASSIFICATION, TASKS, Task
from pipeline.report import style
from pipeline.techniques.ranges import Range

if TYPE_CHECKING:  # these take a second to import, and not every stage draws
    from matplotlib.axes import Axes
    from optuna import Study
    from optuna.distributions import BaseDistribution

SEARCH = ("optimization_history", "parallel_coordinate", "slice", "param_importances")
CURVES = "learning_curves.png"
CROPPED = ("parallel_coordinate", "param_importances")  # their labels extend beyond the figure
DPI = 80
SCORES = {score.name: score for task in TASKS.values() for score in task.scores}
PANELS = {name: (f"train_{name}", f"val_{name}") for name in SCORES}
LEGENDS: Mapping[str, Literal["lower right", "upper right"]] = {  # "best" searches all points
    name: "lower right" if score.better == "higher" else "upper right"
    for name, score in SCORES.items()
}
COLORS = {"train": style.TRAIN, "val": style.VALIDATION}
LINES = {"tuned": "-", "article": "--"}


def prepare() -> None:
    """Imports the plotting libraries, which takes seconds."""
    import matplotlib.pyplot as plt
    import optuna.visualization.matplotlib  # noqa: F401

    plt.switch_backend("agg")  # needs no display


@dataclass(frozen=True)
class Trial:
    """The hyperparameters of a trial and its result."""

    values: Mapping[str, float]  # by name of the hyperparameter
    score: float  # on validation data
    pruned: bool


def draw_search(
    trials: Sequence[Trial],
    ranges: Mapping[str, Range],
    folder: Path,
    task: Task = CLASSIFICATION,
) -> None:
    """Writes Optuna's figures of a search: history, parallel coordinates, slice and importance.

    Writes none unless two complete trials differ in hyperparameters and score. `ranges` gives the
    scale of each hyperparameter; one without a range is drawn linearly.
    """
    import matplotlib.pyplot as plt
    import optuna
    from optuna.visualization import matplotlib as plots

    names = varied(trials)
    if not names:
        return
    prepare()
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(name, trials, ranges) for name in names}
    study = _study(trials, distributions, task)
    with plt.rc_context():  # because Optuna changes the global style
        for name in SEARCH:
            getattr(plots, f"plot_{name}")(study, target_name=task.val.title)
            figure = plt.gcf()
            style.png(figure, folder / f"{name}.png", DPI, crop=name in CROPPED)
            plt.close(figure)


def varied(trials: Sequence[Trial]) -> list[str]:
    """The hyperparameters that every trial has, with different values in complete trials.

    None unless these differ in score too.
    """
    if len({trial.score for trial in trials if not trial.pruned}) < 2:
        return []
    complete = [trial.values for trial in trials if not trial.pruned]
    shared = [
        name for name in (complete or [{}])[0] if all(name in trial.values for trial in trials)
    ]
    return [name for name in shared if len({values[name] for values in complete}) > 1]


def _study(
    trials: Sequence[Trial], distributions: Mapping[str, "BaseDistribution"], task: Task
) -> "Study":
    import optuna

    study, states = optuna.create_study(direction=task.direction), optuna.trial.TrialState
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(
                params={name: trial.values[name] for name in distributions},
                distributions=dict(distributions),
                value=None if trial.pruned else trial.score,
                intermediate_values={0: trial.score} if trial.pruned else {},
                state=states.PRUNED if trial.pruned else states.COMPLETE,
            )
        )
    return study


def _distribution(
    name: str, trials: Sequence[Trial], ranges: Mapping[str, Range]
) -> "BaseDistribution":
    """The search range of a hyperparameter, extended to all values that were tried."""
    from optuna.distributions import FloatDistribution

    tried = [trial.values[name] for trial in trials]
    searched = ranges.get(name)
    if searched is None:
        return FloatDistribution(min(tried), max(tried))
    low, high = min(searched.low, *tried), max(searched.high, *tried)
    return FloatDistribution(low, high, log=searched.log and low > 0)


def draw_curves(curves: pd.DataFrame, path: Path) -> None:
    """Writes the learning curves of a technique's final runs: means and 80 % bands over the seeds.

    Args:
        curves: one row per run and epoch, with setting, epoch and measures such as val_accuracy.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    epochs = max(int(curves["epoch"].max()), 2)
    curves = _thinned(curves)
    panels = {
        name: columns for name, columns in PANELS.items() if set(columns) & set(curves.columns)
    }
    with mpl.rc_context(style.STYLE):
        figure = Figure(figsize=(4.5 * len(panels), 3.6), layout="constrained")
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (measure, columns) in zip(row, panels.items(), strict=True):
            _draw_measure(axes, curves, measure, columns)
            style.set_epochs(axes, epochs)
        style.png(figure, path, DPI)


def _thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves at few epochs, and at each setting's last epoch."""
    last = curves.groupby("setting", observed=True)["epoch"].transform("max")
    kept = thinned(int(curves["epoch"].max()))
    return curves[curves["epoch"].isin(kept) | (curves["epoch"] == last)]


def _draw_measure(axes: "Axes", curves: pd.DataFrame, measure: str, columns: Sequence[str]) -> None:
    for setting, of_setting in curves.groupby("setting", observed=True):
        for column in curves.columns.intersection(list(columns)):
            _draw_band(axes, of_setting.groupby("epoch")[column], str(setting), column)
    axes.set_ylabel(measure)
    style.set_grid(axes, "y")
    if axes.lines:
        axes.legend(frameon=False, loc=LEGENDS[measure])


def _draw_band(axes: "Axes", by_epoch: Any, setting: str, column: str) -> None:
    mean, low, high = by_epoch.mean(), *(by_epoch.quantile(share) for share in style.BAND)
    color = COLORS[column.partition("_")[0]]
    label = f"{column}, {setting}"
    axes.plot(mean.index, mean, LINES.get(setting, ":"), color=color, linewidth=1.4, label=label)
    axes.fill_between(mean.index, low, high, color=color, alpha=style.SHADE, linewidth=0)
