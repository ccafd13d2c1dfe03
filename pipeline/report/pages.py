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
from pipeline.analysis import (
    advice,
    by_example,
    chosen,
    ensembles,
    paired,
    predicted,
    summary,
    tuning_curve,
    yardsticks,
)
from pipeline.analysis.advice import Advice
from pipeline.analysis.by_example import Rows
from pipeline.analysis.chosen import Chosen
from pipeline.analysis.predicted import Predicted
from pipeline.analysis.summary import Finding, Row, difference_text, measure_of
from pipeline.analysis.variance import Component
from pipeline.analysis.yardsticks import Yardsticks
from pipeline.datasets import about as studied
from pipeline.datasets.about import About
from pipeline.datasets.task import Measure, Task
from pipeline.execution import processes
from pipeline.files import replace_csv, replace_text
from pipeline.formatting import counted, number
from pipeline.report import figures, given, model_figures, own_data, panels, style
from pipeline.report.model_figures import Arrays
from pipeline.report.panels import Gallery, Panel, Source
from pipeline.report.rendering import render
from pipeline.report.sentences import scope, setting_words
from pipeline.techniques.registry import BASELINE

Part = Callable[[], Any]  # makes a part of the page
Call = Callable[[Sequence[Part]], list[Any]]  # makes several parts

PAGE = "report.html"
FIGURES = "figures"
THUMBNAIL = f"{FIGURES}/curve.svg"
UI = "http://127.0.0.1:5000"  # where `make ui` opens MLflow
DESCRIBED = (  # of a setting's second table: measure and heading
    ("epochs_run", "epochs run"),
    ("zero_weights", "zero weights, %"),
    ("zero_activations", "zero activations, %"),
)


@dataclass(frozen=True)
class Setting:
    """What the page shows of one setting; techniques are in the order of runs.csv."""

    name: str
    finding: Finding
    leaks: bool
    given: given.Table | None  # the values of its techniques, where no search chose them
    compared: dict[str, list[Row]]  # outcome -> rows, the baseline's first as it comes
    described: dict[str, dict[str, float]]  # technique -> means by measure
    components: dict[str, tuple[Component, ...]]  # technique -> of its difference in the score
    ensembles: list[dict[Any, Any]]  # of ensembles.csv
    forest: tuple[Markup, Markup] | None  # for a wide page and for a phone
    cost: list[Panel]
    curves: list[Panel]  # of the score
    loss: list[Panel]  # empty if the loss is the score
    predictions: list[Gallery]
    galleries: list[Gallery]
    activations: tuple[Markup, Markup] | None

    @property
    def n(self) -> int:
        """The number of replicates."""
        return self.finding.n

    @property
    def title(self) -> str:
        """The heading of its section."""
        words = setting_words(self.finding)
        return words[0].upper() + words[1:]


@dataclass(frozen=True)
class Tables:
    """What a study's results say, before anything is drawn."""

    about: About
    runs: pd.DataFrame
    tuned: chosen.Tuned
    rows: Rows
    summary: pd.DataFrame
    finding: Finding
    advised: Advice
    ensembled: pd.DataFrame  # of ensembles.csv
    simple: Yardsticks | None  # None but for people's own data
    curves: pd.DataFrame  # mean learning curves, by setting and technique


@dataclass(frozen=True)
class Choice:
    """What the searches of a technique chose, and what choices.csv says of it, if it does."""

    chosen: Chosen
    rank: tuple[float, float, float] | None  # rank correlation: mean over searches, low, high
    lost: float | None  # by choosing on few points, in the score's unit: mean over searches


def write(folder: Path, ui: str = UI, processes: int = 1) -> None:
    """Make summary, metrics, advice, figures and page of the results in `folder`.

    Reads about.json, runs.csv, curves.parquet, predictions.npz, inspections.npz, choices.csv,
    yardsticks.csv, tuned.json and trials.csv. Draws in `processes` processes. The page links each
    run to MLflow at the address `ui`. Raises UserError if a file is missing or incomplete.
    """
    trials = tuning_curve.ordered(results.read_trials(folder))
    worth = results.read_choices(folder)
    inspected = model_figures.read(folder)
    call = _helpers(processes)  # which import while the tables are made
    tables = write_tables(folder)
    about, runs, tuned, table = tables.about, tables.runs, tables.tuned, tables.summary
    task, noise = results.task_of(runs), figures.noise_curves(runs)
    replace_csv(folder / "plots" / "noise.csv", noise, digits=6)
    shutil.rmtree(folder / FIGURES, ignore_errors=True)  # may include techniques that were removed
    names = summary.ordered_settings(table)
    told = _predicted(folder, tables)
    parts: list[Part] = [
        *(
            partial(
                _setting,
                name,
                about.title,
                table,
                tables.curves,
                tables.ensembled,
                runs[runs["setting"] == name],
                noise[noise["setting"] == name],
                inspected.get(name, {}),
                tables.rows,
                told.get(name, {}),
                about.classes,
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
        )
        if chosen.searched(tuned)
        else _begin,
        partial(write_figures, table, tables.curves, folder, about.title),
    ]
    *settings, search, _ = call(parts)  # no search: None
    write_drawings(settings, folder / FIGURES)
    page = render(
        "report.html",
        name=folder.name,
        about=about,
        finding=tables.finding,
        advised=tables.advised,
        own=own_data.words(about, task, tables.finding) if about.own else None,
        simple=tables.simple,
        words=given.words(runs),
        settings=settings,
        tuned=tuned,
        task=task,
        columns=(*DESCRIBED, *task.wording.columns),
        choices=choices_of(tuned, worth),
        search=search,
        runs=runs_of(runs, task),
        ui=ui.rstrip("/"),
        seconds=float(runs["seconds"].sum()),
    )
    replace_text(folder / PAGE, page)


def write_tables(folder: Path) -> Tables:
    """Writes summary, advice, ensembles, metrics and mean curves of the results in `folder`.

    Raises UserError if a file is missing or incomplete.
    """
    about = studied.read(folder)
    runs, tuned = results.read_runs(folder), results.read_tuned(folder)
    rows = by_example.read(folder, runs)
    table = summary.summarize(
        runs,
        about.outcomes,
        rows=rows,
        same_rows=about.same_rows,
        searched=chosen.searched(tuned),
    )
    finding = summary.find(table)
    where = scope(about, tuned["epochs"]) if finding.setting == "tuned" else f"On {about.title}"
    advised = advice.advise(finding, tuned, where)
    made = Tables(
        about=about,
        runs=runs,
        tuned=tuned,
        rows=rows,
        summary=table,
        finding=finding,
        advised=advised,
        ensembled=_ensembles(folder, runs),
        simple=yardsticks.read(folder, runs, finding, advised.by_validation, rows),
        curves=figures.mean_curves(folder, runs),
    )
    results.write_summary(table, folder)
    ensembles.write(made.ensembled, folder / "ensembles.csv")
    write_metrics(finding, folder / "metrics.json")
    write_advice(made.advised, folder / results.ADVICE)
    write_plot_data(made.curves, results.task_of(runs), folder / "plots" / "curves.csv")
    return made


def _predicted(folder: Path, tables: Tables) -> dict[str, dict[str, list[Predicted]]]:
    """Setting -> technique -> predictions for people's own data: of the baseline and the best."""
    if not tables.about.own or results.task_of(tables.runs).target.of_input:
        return {}
    best = tables.finding.champion or tables.advised.by_validation
    return predicted.read(folder, tables.runs, {BASELINE, best})


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


def write_metrics(finding: Finding, path: Path) -> None:
    """Writes a study's row of `dvc metrics show`: few numbers, the same for every study.

    `baseline`: its mean score. `gain`, with the ends of its simultaneous interval: of the technique
    to use, or else of the one with the largest mean gain.
    """
    metrics = {"baseline": float(finding.baseline["mean"])}
    if finding.compared:
        row = max(
            finding.compared,
            key=lambda row: (row["technique"] == finding.champion, summary.gain(row).mean),
        )
        metrics |= zip(("gain", "gain_low", "gain_high"), summary.gain(row), strict=True)
    finite = {name: round(value, 6) for name, value in metrics.items() if math.isfinite(value)}
    replace_text(path, json.dumps(finite, indent=2) + "\n")


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
    names = ["setting", "technique", "search", "replicate", "seed", task.test.name, "mlflow_run_id"]
    listed = runs.reindex(columns=names)
    ids = [text if isinstance(text, str) else None for text in listed.pop("mlflow_run_id")]
    rows = listed.to_dict("records")
    return [row | {"run_id": run_id} for row, run_id in zip(rows, ids, strict=True)]


def write_plot_data(curves: pd.DataFrame, task: Task, path: Path) -> None:
    """Writes the thinned mean curves, for `dvc plots`.

    `validation` is that of the followed score under a name that all tasks share.
    """
    columns = ["epoch", "technique", "setting", *task.curves]
    score = curves[task.of("val", task.followed).name]
    replace_csv(path, curves[columns].assign(validation=score), digits=6)


def write_drawings(settings: Sequence[Setting], folder: Path) -> None:
    """Writes each setting's active units and `<technique>/<kind>-<setting>.svg`, on white."""
    files = {
        f"{panel.technique}/{gallery.kind}-{setting.name}.svg": panel.svg
        for setting in settings
        for gallery in (*setting.predictions, *setting.galleries)
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
    """Writes each setting's figures as PNG, and the champion's curve for the overview."""
    for setting in summary.ordered_settings(table):
        finding = summary.find(table, setting)
        if finding.compared:
            forest = figures.forest(
                [*finding.by_outcome.values()], 8.5, _caption(finding, "difference", title)
            )
            style.png(forest, folder / f"figures/forest-{setting}.png")
        shown = curves[curves["setting"] == setting]
        techniques = [row["technique"] for row in finding.primary]
        for measure in dict.fromkeys((finding.followed.name, "loss")):
            text = f"{_caption(finding, measure, title)}; dotted: validation of {BASELINE}"
            grid = figures.curve_grid(shown, techniques, measure, text)
            style.png(grid, folder / f"figures/{measure}-{setting}.png")
    first = summary.find(table)
    champion = [first.champion or BASELINE]
    panel = _panels(first, champion, curves, first.followed.name, title)[0]
    replace_text(folder / THUMBNAIL, panel.svg)


def _setting(
    name: str,
    title: str,
    table: pd.DataFrame,
    curves: pd.DataFrame,
    ensembled: pd.DataFrame,
    runs: pd.DataFrame,
    noise: pd.DataFrame,
    inspected: Mapping[str, Arrays],
    rows: Rows,
    told: Mapping[str, Sequence[Predicted]],
    classes: Sequence[str],
) -> Setting:
    finding = summary.find(table, name)
    techniques = [str(row["technique"]) for row in finding.primary]
    source = Source(
        where=f"{title}, {setting_words(finding)}",
        name=name,
        n=finding.n,
        techniques=techniques,
        runs=runs,
        noise=noise,
        inspected=inspected,
        predicted=told,
        classes=classes,
    )
    score = finding.followed.name
    return Setting(
        name=name,
        finding=finding,
        leaks=any(row["leaks"] for row in finding.primary),
        given=given.table(runs, table, finding),
        compared=_compared(table, name),
        described=_described(table, name),
        components=_components(runs, finding, rows),
        ensembles=ensembled[ensembled["setting"] == name].to_dict("records"),
        forest=_forest(finding, title) if finding.compared else None,
        cost=_costs(table, finding, title),
        curves=_panels(finding, techniques, curves, score, title),
        loss=[] if score == "loss" else _panels(finding, techniques, curves, "loss", title),
        predictions=panels.predictions(source),
        galleries=panels.galleries(source),
        activations=panels.activations(source),
    )


def _compared(table: pd.DataFrame, setting: str) -> dict[str, list[Row]]:
    """Outcome -> its rows with the baseline's, the score first."""
    rows: dict[str, list[Row]] = {}
    for role in ("primary", "secondary"):
        for row in summary.rows_of(table, setting, role):
            rows.setdefault(row["outcome"], []).append(row)
    return rows


def _described(table: pd.DataFrame, setting: str) -> dict[str, dict[str, float]]:
    """Technique -> its means by outcome."""
    means: dict[str, dict[str, float]] = {}
    for row in table[table["setting"] == setting].to_dict("records"):
        means.setdefault(row["technique"], {})[row["outcome"]] = row["mean"]
    return means


def _components(
    runs: pd.DataFrame, finding: Finding, rows: Rows
) -> dict[str, tuple[Component, ...]]:
    """Technique -> where the variance of its difference in the score comes from."""
    groups = {str(name): own for name, own in runs.groupby("technique", sort=False)}
    pairs = {
        row["technique"]: paired.pairs(
            groups[row["technique"]],
            groups[BASELINE],
            finding.measure.name,
            rows=rows.get(finding.measure.name),
        )
        for row in finding.compared
    }
    return {name: each.components() for name, each in pairs.items() if each.replicates > 1}


def _forest(finding: Finding, title: str) -> tuple[Markup, Markup]:
    """The forest plot for a wide page and for a phone."""
    outcomes = [*finding.by_outcome.values()]
    wide, narrow = (
        Markup(
            figures.svg(
                figures.forest(outcomes, width),
                f"forest-{finding.setting}-{width:g}",
                _alt(finding, title),
            )
        )
        for width in (7.6, 3.5)
    )
    return wide, narrow


def _panels(
    finding: Finding, techniques: Sequence[str], curves: pd.DataFrame, measure: str, title: str
) -> list[Panel]:
    """A panel with the learning curve of each technique of one setting."""
    text = _caption(finding, measure, title)
    shown = curves[curves["setting"] == finding.setting]
    panels = []
    for technique in techniques:
        name = "-".join((finding.study, finding.setting, measure, technique))
        figure = figures.curve_panel(shown, technique, measure)
        panels.append(
            Panel(technique, Markup(figures.svg(figure, name, f"{text}: {technique}.")), technique)
        )
    return panels


def _costs(table: pd.DataFrame, finding: Finding, title: str) -> list[Panel]:
    """The score against each cost that differs between the techniques, and against seconds."""
    costs = {cost: summary.means(table, finding.setting, cost) for cost in figures.COSTS}
    rows = pd.DataFrame(finding.primary)
    return [
        _cost_panel(rows.assign(**{cost: rows["technique"].map(means)}), cost, finding, title)
        for cost, means in costs.items()
        if means and (cost == "seconds" or _varies([*means.values()]))
    ]


def _varies(costs: Sequence[float]) -> bool:
    """Whether techniques differ by more than 5 % in a cost, so that a figure shows something."""
    return max(costs) > 1.05 * min(costs)


def _cost_panel(rows: pd.DataFrame, cost: str, finding: Finding, title: str) -> Panel:
    words, measure = figures.COSTS[cost], finding.measure
    compared = f"{words[0].upper()}{words[1:]} and {measure.spoken}"
    values = (
        f"{row['technique']} {number(row[cost])}, {measure.value(row['mean'])}"
        for row in rows.to_dict("records")
    )
    label = (
        f"{title}, {setting_words(finding)}: {compared}, means of"
        f" {counted(finding.n, 'replicate')}."
        f" {'; '.join(values)}."
    )
    name = f"{finding.setting}-cost-{cost}"
    return Panel(
        compared, Markup(figures.svg(figures.cost_panel(rows, cost, measure), name, label))
    )


def _caption(finding: Finding, shown: str, title: str) -> str:
    replicates = counted(finding.n, "replicate")
    runs = f"by epoch, mean and middle 80 % of the runs of {replicates}"
    score = finding.followed
    content = {
        score.name: f"{score.spoken} {runs}",
        "loss": f"validation loss without penalty {runs}",
        "difference": f"differences to none, means of {replicates} and simultaneous 95 % intervals",
    }[shown]
    return f"{title}, {setting_words(finding)}: {content}"


def _alt(finding: Finding, title: str) -> str:
    outcomes = (
        f"{measure_of(rows[0]).title}: "
        + "; ".join(f"{row['technique']} {difference_text(row, unit=True)}" for row in rows)
        for rows in finding.by_outcome.values()
    )
    return f"{_caption(finding, 'difference', title)}. {'. '.join(outcomes)}."


def choices_of(tuned: chosen.Tuned, sure: pd.DataFrame) -> dict[str, Choice]:
    """The choices of each technique that was searched; `sure` is the table choices.csv."""
    return {name: _choice(each, sure) for name, each in chosen.choices(tuned).items()}


def _choice(each: Chosen, sure: pd.DataFrame) -> Choice:
    own = sure[sure["technique"] == each.technique]
    if own.empty:
        return Choice(each, None, None)
    rank, low, high = (
        float(own[name].mean()) for name in ("rank_correlation", "rank_low", "rank_high")
    )
    lost = own["practitioner_lost"].dropna()
    return Choice(each, (rank, low, high), None if lost.empty else float(lost.mean()))


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
    choices = {name: each for name, each in chosen.choices(tuned).items() if name in groups}
    curves = {name: tuning_curve.mean_curve(groups[name], random, measure) for name in choices}
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
                    f" {counted(len(groups[technique]), 'trial')}. Chosen:"
                    f" {', '.join(map(number, searched.chosen))}.",
                )
            ),
        )
        for technique in choices
        for searched in _searched(tuned["techniques"][technique], article.get(technique, {}))
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
                    f" {counted(len(curve), 'trial')}.",
                )
            ),
        )
        for technique, curve in curves.items()
    ]
    pruned = int((trials["state"] == "pruned").sum())
    return Search(random, pruned, strength, tuning)


def _searched(entry: Mapping[str, Any], article: Mapping[str, float]) -> list[figures.Searched]:
    """A technique's own hyperparameters; its learning rate if it has no others."""
    ranges = entry["search"]
    own = [name for name in ranges if name != "learning_rate"] or list(ranges)
    return [
        figures.Searched(
            name=name,
            low=ranges[name]["low"],
            high=ranges[name]["high"],
            log=ranges[name]["log"],
            chosen=tuple(search["values"][name] for search in entry["searches"]),
            article=article.get(name),
        )
        for name in own
    ]
