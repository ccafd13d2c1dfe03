"""Result files -> a page per study, and the files that DVC shows."""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from pipeline import results
from pipeline.analysis import advice, ensembles, summary, tuning_curve
from pipeline.analysis.advice import Advice
from pipeline.analysis.summary import BASELINE, measure_of
from pipeline.datasets import about as studied
from pipeline.datasets.task import Measure, Task
from pipeline.execution import processes
from pipeline.files import replace_csv, replace_text
from pipeline.formatting import interval, number
from pipeline.report import figures, model_figures, panels, style
from pipeline.report.model_figures import Arrays
from pipeline.report.panels import Gallery, Panel, Source
from pipeline.report.rendering import render
from pipeline.report.sentences import scope

Part = Callable[[], Any]  # makes a part of the page
Call = Callable[[Sequence[Part]], list[Any]]  # makes several parts

PAGE = "report.html"
FIGURES = "figures"
THUMBNAIL = f"{FIGURES}/best.svg"
UI = "http://127.0.0.1:5000"  # where `make ui` opens MLflow
COLUMNS = (  # of a setting's table, after score, difference and gap: measure and heading
    ("epochs_run", "epochs run"),
    ("zero_weights", "zero weights, %"),
    ("zero_activations", "zero activations, %"),
)


@dataclass(frozen=True)
class Setting:
    """What the page shows of one setting."""

    name: str
    n: int  # paired seeds
    leaks: bool
    rows: list[dict[Any, Any]]  # of the summary, best first
    ensembles: list[dict[Any, Any]]  # of ensembles.csv
    forest: tuple[Markup, Markup]  # for a wide page and for a phone
    cost: list[Panel]
    curves: list[Panel]  # of the score
    loss: list[Panel]  # empty if the loss is the score
    galleries: list[Gallery]
    activations: tuple[Markup, Markup] | None


@dataclass(frozen=True)
class Choice:
    """The chosen value of a hyperparameter, and its search range."""

    name: str
    value: float
    searched: str
    at_edge: bool


def write(folder: Path, ui: str = UI, processes: int = 1) -> None:
    """Make summary, metrics, advice, figures and page of the results in `folder`.

    Reads about.json, runs.csv, curves.parquet, predictions.npz, inspections.npz, tuned.json and
    trials.csv. Draws in `processes` processes. The page links each run to MLflow at the address
    `ui`. Raises UserError if a file is missing or incomplete.
    """
    about = studied.read(folder)
    runs, tuned = results.read_runs(folder), results.read_tuned(folder)
    task = results.task_of(runs)
    trials = tuning_curve.ordered(results.read_trials(folder))
    curves = figures.mean_curves(folder, runs)
    inspected = model_figures.read(folder)
    call = _helpers(processes)  # which import while the tables are made
    noise = figures.noise_curves(runs)
    table = summary.summarize(runs)
    ensembled = _ensembles(folder, runs)
    finding = summary.find(table)
    advised = advice.advise(finding, tuned, scope(about, tuned["epochs"]))
    results.write_summary(table, folder)
    ensembles.write(ensembled, folder / "ensembles.csv")
    write_metrics(table, folder / "metrics.json")
    write_advice(advised, folder / results.ADVICE)
    write_plot_data(curves, task, folder / "plots" / "curves.csv")
    replace_csv(folder / "plots" / "noise.csv", noise, digits=6)
    shutil.rmtree(folder / FIGURES, ignore_errors=True)  # may include techniques that were removed
    names = summary.ordered_settings(table)
    parts: list[Part] = [
        *(
            partial(
                _setting,
                name,
                about.title,
                table,
                curves,
                ensembled,
                runs[runs["setting"] == name],
                noise[noise["setting"] == name],
                inspected.get(name, {}),
            )
            for name in names
        ),
        partial(
            _search,
            about.title,
            tuned,
            task.val,
            trials,
            article_values(runs),
            about.random_trials,
        ),
        partial(write_figures, table, curves, folder, about.title),
    ]
    *settings, search, _ = call(parts)
    write_drawings(settings, folder / FIGURES)
    page = render(
        "report.html",
        name=folder.name,
        about=about,
        finding=finding,
        advised=advised,
        settings=settings,
        tuned=tuned,
        task=task,
        columns=(*COLUMNS, *task.wording.columns),
        choices={name: _choices(chosen) for name, chosen in tuned["techniques"].items()},
        search=search,
        runs=runs_of(runs, task),
        ui=ui.rstrip("/"),
        seconds=float(runs["seconds"].sum()),
    )
    replace_text(folder / PAGE, page)


def _helpers(count: int) -> Call:
    """A function that calls others in `count` processes, and returns their results in order.

    It can be called once, because it then ends the processes. A `count` of 1 needs no process.
    """
    if count == 1:
        return lambda parts: [part() for part in parts]
    pool = processes.helpers(count, _begin)
    for _ in range(1, count):
        pool.submit(_begin)

    def call(parts: Sequence[Part]) -> list[Any]:
        with pool:
            return [future.result() for future in [pool.submit(part) for part in parts]]

    return call


def _begin() -> None:
    """Does nothing; a helper that calls it has imported this module and all that draws."""


def _ensembles(folder: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """The table of ensembles; empty for a task whose models have no probabilities to average."""
    if not results.task_of(runs).labels:
        return pd.DataFrame(columns=list(ensembles.COLUMNS))
    return ensembles.summarize(runs, ensembles.read(folder, runs))


def write_metrics(table: pd.DataFrame, path: Path) -> None:
    """Writes mean test score and difference by setting and technique, for `dvc metrics show`."""
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    for row in table.to_dict("records"):
        names = (measure_of(row).name, "difference")
        values = {name: round(row[name], 6) for name in names}
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        metrics.setdefault(row["setting"], {})[row["technique"]] = finite
    replace_text(path, json.dumps(metrics, indent=2) + "\n")


def write_advice(advised: Advice, path: Path) -> None:
    """Writes the advice as JSON, for the overview and other programs."""
    replace_text(path, json.dumps(asdict(advised), indent=2) + "\n")


def article_values(runs: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Technique -> the hyperparameters of its runs in the article's setting, if it has any."""
    of_article = runs[runs["setting"] == "article"].drop_duplicates("technique")
    return {
        row["technique"]: {
            name: value for name, value in results.params_of(row).items() if pd.notna(value)
        }
        for row in of_article.to_dict("records")
    }


def runs_of(runs: pd.DataFrame, task: Task) -> list[dict[Any, Any]]:
    """The final runs as the page lists them; `run_id` is None if a run is not in MLflow."""
    names = ["setting", "technique", "seed", task.test.name, "mlflow_run_id"]
    listed = runs.reindex(columns=names)
    ids = [text if isinstance(text, str) else None for text in listed.pop("mlflow_run_id")]
    rows = listed.to_dict("records")
    return [row | {"run_id": run_id} for row, run_id in zip(rows, ids, strict=True)]


def write_plot_data(curves: pd.DataFrame, task: Task, path: Path) -> None:
    """Writes the thinned mean curves, for `dvc plots`."""
    columns = ["epoch", "technique", "setting", *task.curves]
    replace_csv(path, curves[columns], digits=6)


def write_drawings(settings: Sequence[Setting], folder: Path) -> None:
    """Writes each setting's active units and `<technique>/<kind>-<setting>.svg`, on white."""
    files = {
        f"{panel.technique}/{gallery.kind}-{setting.name}.svg": panel.svg
        for setting in settings
        for gallery in setting.galleries
        for panel in gallery.panels
    }
    files |= {
        f"active-{setting.name}.svg": setting.activations[0]
        for setting in settings
        if setting.activations
    }
    for name, svg in files.items():
        replace_text(folder / name, str(svg).replace("<svg ", '<svg style="background: #fff" ', 1))


def drawings(folder: Path) -> dict[str, list[Path]]:
    """Technique -> files of its figures; figures of all techniques are listed for the baseline."""
    files: dict[str, list[Path]] = {BASELINE: []}
    for path in sorted((folder / FIGURES).rglob("*.*")):
        common = path.parent.name == FIGURES
        files.setdefault(BASELINE if common else path.parent.name, []).append(path)
    return files


def write_figures(table: pd.DataFrame, curves: pd.DataFrame, folder: Path, title: str) -> None:
    """Writes each setting's figures as PNG, and the best technique's curve for the overview."""
    for setting in summary.ordered_settings(table):
        rows = summary.ranked(table, setting)
        forest = figures.forest(rows, 8.5, _title(rows, "difference", title))
        style.png(forest, folder / f"figures/forest-{setting}.png")
        shown = curves[curves["setting"] == setting]
        for measure in dict.fromkeys((_score(rows).name, "loss")):
            text = f"{_title(rows, measure, title)}; dotted: validation of {BASELINE}"
            grid = figures.curve_grid(shown, list(rows["technique"]), measure, text)
            style.png(grid, folder / f"figures/{measure}-{setting}.png")
    first = summary.ranked(table, summary.ordered_settings(table)[0])
    best = _panels(first.head(1), curves, _score(first).name, title)[0]
    replace_text(folder / THUMBNAIL, best.svg)


def _setting(
    name: str,
    title: str,
    table: pd.DataFrame,
    curves: pd.DataFrame,
    ensembled: pd.DataFrame,
    runs: pd.DataFrame,
    noise: pd.DataFrame,
    inspected: Mapping[str, Arrays],
) -> Setting:
    rows = summary.ranked(table, name)
    source = Source(
        where=f"{title}, {name} setting",
        name=name,
        n=int(rows["n"].iloc[0]),
        techniques=list(rows["technique"]),
        runs=runs,
        noise=noise,
        inspected=inspected,
    )
    wide, narrow = (
        Markup(
            figures.svg(figures.forest(rows, width), f"forest-{name}-{width:g}", _alt(rows, title))
        )
        for width in (7.6, 3.5)
    )
    return Setting(
        name=name,
        n=int(rows["n"].min()),
        leaks=bool(rows["leaks"].any()),
        rows=rows.to_dict("records"),
        ensembles=ensembled[ensembled["setting"] == name].to_dict("records"),
        forest=(wide, narrow),
        cost=[
            _cost_panel(rows, cost, title)
            for cost in figures.COSTS
            if cost in rows and (cost == "seconds" or _varies(rows[cost]))
        ],
        curves=_panels(rows, curves, _score(rows).name, title),
        loss=[] if _score(rows).name == "loss" else _panels(rows, curves, "loss", title),
        galleries=panels.galleries(source),
        activations=panels.activations(source),
    )


def _score(rows: pd.DataFrame) -> Measure:
    """The score of one setting's task, such as accuracy."""
    return results.task_of(rows).score


def _panels(rows: pd.DataFrame, curves: pd.DataFrame, measure: str, title: str) -> list[Panel]:
    """A panel for each row of one setting."""
    setting, text = rows["setting"].iloc[0], _title(rows, measure, title)
    shown = curves[curves["setting"] == setting]
    panels = []
    for technique in rows["technique"]:
        name = "-".join((rows["study"].iloc[0], setting, measure, technique))
        figure = figures.curve_panel(shown, technique, measure)
        panels.append(
            Panel(technique, Markup(figures.svg(figure, name, f"{text}: {technique}.")), technique)
        )
    return panels


def _varies(costs: "pd.Series[float]") -> bool:
    """Whether techniques differ by more than 5 % in a cost, so that a figure shows something."""
    return bool(costs.max() > 1.05 * costs.min())


def _cost_panel(rows: pd.DataFrame, cost: str, title: str) -> Panel:
    first, words = rows.iloc[0], figures.COSTS[cost]
    measure = measure_of(first)
    compared = f"{words[0].upper()}{words[1:]} and {measure.spoken}"
    values = (
        f"{row['technique']} {number(row[cost])}, {measure.value(row[measure.name])}"
        for row in rows.to_dict("records")
    )
    label = (
        f"{title}, {first['setting']} setting: {compared}, means of"
        f" {first['n']} seeds. {'; '.join(values)}."
    )
    name = f"{first['setting']}-cost-{cost}"
    return Panel(compared, Markup(figures.svg(figures.cost_panel(rows, cost), name, label)))


def _title(rows: pd.DataFrame, shown: str, title: str) -> str:
    first = rows.iloc[0]
    seeds = f"by epoch, mean and middle 80 % of {first['n']} seeds"
    content = {
        _score(rows).name: f"{_score(rows).spoken} {seeds}",
        "loss": f"validation loss without penalty {seeds}",
        "difference": f"{measure_of(first).title} against none, mean of {first['n']} pairs and 95 %"
        " interval",
    }[shown]
    return f"{title}, {first['setting']} setting: {content}"


def _alt(rows: pd.DataFrame, title: str) -> str:
    others = rows[rows["technique"] != BASELINE].to_dict("records")
    measure = measure_of(rows.iloc[0])
    values = (
        f"{row['technique']} {interval(measure.difference, row, 'difference')}" for row in others
    )
    unit = ", in points" if measure.share else ""
    return f"{_title(rows, 'difference', title)}{unit}. {'; '.join(values)}."


def _choices(chosen: Mapping[str, Any]) -> list[Choice]:
    """The chosen values of one technique, from its entry in tuned.json."""
    return [
        Choice(name, value, _range(chosen["search"].get(name)), name in chosen["at_edge"])
        for name, value in chosen["values"].items()
    ]


def _range(searched: Mapping[str, Any] | None) -> str:
    return "held fixed" if searched is None else advice.range_text(searched)


@dataclass(frozen=True)
class Search:
    """What the page shows of the search."""

    random: int  # number of trials drawn at random, for each technique
    pruned: int  # number of pruned trials, of all techniques
    strength: list[Panel]
    tuning: list[Panel]


def _search(
    title: str,
    tuned: Mapping[str, Any],
    measure: Measure,
    trials: pd.DataFrame,
    article: Mapping[str, Mapping[str, float]],
    random: int,
) -> Search:
    """The figures of the search, from its trials and `tuned.json`, without test data."""
    groups = {str(name): group for name, group in trials.groupby("technique", sort=False)}
    choices = {name: chosen for name, chosen in tuned["techniques"].items() if name in groups}
    curves = {
        name: tuning_curve.tuning_curve(groups[name][measure.name].to_list(), random, measure.sign)
        for name in choices
    }
    scores = figures.score_limits(trials[measure.name], measure)
    bests = figures.score_limits(
        pd.concat(
            [curve[column] for curve in curves.values() for column in ("expected", "best_so_far")]
        ),
        measure,
    )
    where = f"{title}, search of {{}}: "
    strength = [
        Panel(
            f"{technique}: {searched.name.replace('_', ' ')}",
            Markup(
                figures.svg(
                    figures.strength_panel(groups[technique], searched, random, measure, scores),
                    f"strength-{technique}-{searched.name}",
                    f"{where.format(technique)}{measure.spoken} against {searched.name} in"
                    f" {len(groups[technique])} trials of {tuned['seeds']} seeds each. Chosen:"
                    f" {number(searched.chosen)}.",
                )
            ),
        )
        for technique, chosen in choices.items()
        for searched in _searched(chosen, article.get(technique, {}))
    ]
    tuning = [
        Panel(
            technique,
            Markup(
                figures.svg(
                    figures.tuning_panel(
                        curve,
                        None if technique == BASELINE else curves.get(BASELINE),
                        measure,
                        bests,
                    ),
                    f"tuning-{technique}",
                    f"{where.format(technique)}best {measure.spoken} after 1 to"
                    f" {len(curve)} trials of {tuned['seeds']} seeds each.",
                )
            ),
        )
        for technique, curve in curves.items()
    ]
    pruned = int((trials["state"] == "pruned").sum())
    return Search(random, pruned, strength, tuning)


def _searched(chosen: Mapping[str, Any], article: Mapping[str, float]) -> list[figures.Searched]:
    """A technique's own hyperparameters; its learning rate if it has no others."""
    ranges = chosen["search"]
    own = [name for name in ranges if name != "learning_rate"] or list(ranges)
    return [
        figures.Searched(
            name=name,
            low=ranges[name]["low"],
            high=ranges[name]["high"],
            log=ranges[name]["log"],
            chosen=chosen["values"][name],
            article=article.get(name),
        )
        for name in own
    ]
