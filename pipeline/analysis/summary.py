"""Final runs -> one row per technique and setting, and the conclusions that they support.

Every comparison is paired by seed with the technique `none` of the same setting. Bootstrap and sign
flips start from the same seed in every row, so that adding or removing a technique changes no
interval of another one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis import families, statistics
from pipeline.analysis.statistics import Estimate, Vector
from pipeline.datasets import task as tasks
from pipeline.datasets.task import Measure, Task
from pipeline.errors import UserError
from pipeline.formatting import interval, p_text
from pipeline.results import COMPARED, SUMMARY_COLUMNS, estimates, task_of

BASELINE = "none"
SIGNIFICANCE = 0.05
COUNTS = ("diverged", "collapsed")


def columns(task: Task, measured: Collection[str]) -> tuple[str, ...]:
    """The columns of the summary of a task; `measured` are the columns of the runs.

    `difference`, p and `improvement` are about the score that the column `measure` names.
    """
    names = [
        *SUMMARY_COLUMNS,
        *estimates(task.test.name),
        *COMPARED,
        *estimates(task.train.name),
        task.val.name,
        *estimates(task.gap_measure.name),
        *estimates("test_loss"),
        *(name for name, measure in task.measures.items() if measure.averaged),
        *COUNTS,
    ]
    available = {*SUMMARY_COLUMNS, *COMPARED, *measured}
    sources = {name: name.removesuffix("_low").removesuffix("_high") for name in names}
    return tuple(name for name, source in sources.items() if source in available)


# Rows


def summarize(runs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row per technique and setting, with the columns of `columns`, in the order of `runs`.

    Shares are in [0, 1]. Gaps and differences are about the score that `measure` names. `p_holm`
    is corrected for the techniques of one setting. Columns that compare with `none` are empty in
    the row of `none`. `seed` fixes bootstrap and random sign flips. Raises UserError if a setting
    has no baseline or a technique does not have the same seeds as the baseline.
    """
    task = task_of(runs)
    names = columns(task, set(runs.columns))
    tables = [
        _summarize_setting(group, task, names, seed)
        for _, group in runs.groupby("setting", sort=False)
    ]
    return pd.concat(tables, ignore_index=True)[list(names)]


def _summarize_setting(
    runs: pd.DataFrame, task: Task, names: Collection[str], seed: int
) -> pd.DataFrame:
    setting, measure = str(runs["setting"].iloc[0]), task.test
    groups = {
        str(name): group.sort_values("seed")
        for name, group in runs.groupby("technique", sort=False)
    }
    _check_pairs(groups, setting)
    rows = [_row(group, groups[BASELINE], measure, names, seed) for group in groups.values()]
    table = pd.DataFrame(rows)
    table["p_holm"] = families.holm(table["p"])
    scores = np.stack([_scores(group, measure) for group in groups.values()])
    table["p_best"] = statistics.best_p(scores, np.random.default_rng(seed))
    return table


def _scores(runs: pd.DataFrame, measure: Measure) -> Vector:
    """The scores of runs with the sign that makes larger ones better, shape (n,)."""
    return measure.sign * runs[measure.name].to_numpy(float)


def _check_pairs(groups: dict[str, pd.DataFrame], setting: str) -> None:
    if BASELINE not in groups:
        raise UserError(
            f"setting {setting!r} has no runs of the baseline {BASELINE!r}, only of"
            f" {', '.join(groups)}"
        )
    seeds = {name: set(group["seed"]) for name, group in groups.items()}
    unpaired = [
        f"{technique} has no seed {', '.join(str(seed) for seed in sorted(missing))}"
        for name in groups
        for technique, missing in (
            (name, seeds[BASELINE] - seeds[name]),
            (f"{BASELINE}, unlike {name},", seeds[name] - seeds[BASELINE]),
        )
        if missing
    ]
    if unpaired:
        raise UserError(
            f"techniques of setting {setting!r} must have the same seeds as {BASELINE!r}, but "
            + "; ".join(unpaired)
        )


def _row(
    runs: pd.DataFrame, baseline: pd.DataFrame, measure: Measure, names: Collection[str], seed: int
) -> dict[str, Any]:
    """One technique's row, without corrected p-values; both tables are sorted by seed."""
    first = runs.iloc[0]
    row: dict[str, Any] = {name: first[name] for name in ("study", "task", "technique")}
    row |= {"setting": first["setting"], "leaks": bool(runs["leaks"].any()), "n": len(runs)}
    row |= {"measure": measure.name, **_comparison(runs, baseline, measure, seed)}
    row |= {name: int(runs[name].sum()) for name in COUNTS if name in names}
    for name in (name for name in names if name in runs and name not in row):
        if f"{name}_low" in names:
            row |= _columns(name, statistics.mean_interval(runs[name], np.random.default_rng(seed)))
        else:
            # No mean if a value is not finite: skipping it would make the technique look better.
            row[name] = float(runs[name].mean(skipna=False))
    return row


def _comparison(
    runs: pd.DataFrame, baseline: pd.DataFrame, measure: Measure, seed: int
) -> dict[str, float]:
    if runs["technique"].iloc[0] == BASELINE:
        undefined = Estimate(np.nan, np.nan, np.nan)
        return _columns("difference", undefined) | {"p": np.nan, "improvement": np.nan}
    values = runs[measure.name], baseline[measure.name]
    estimate = statistics.paired_difference(*values, np.random.default_rng(seed))
    p = statistics.sign_flip_p(statistics.differences(*values), np.random.default_rng(seed))
    return _columns("difference", estimate) | {
        "p": p,
        "improvement": statistics.improvement(_scores(runs, measure), _scores(baseline, measure)),
    }


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


# What they show


@dataclass(frozen=True)
class Finding:
    """What one setting of a study shows; groups of techniques are lists of names, best first.

    Better and worse mean a corrected p-value below 0.05. The technique with the best mean need not
    be the truly best one, which `candidates` include with 95 % confidence.
    """

    study: str
    setting: str
    techniques: int  # number compared, including the baseline
    n: int  # paired seeds
    rows: tuple[dict[str, Any], ...]  # of the summary, the best first
    candidates: tuple[str, ...]  # could be the best
    better: tuple[str, ...]  # than the baseline
    worse: tuple[str, ...]  # than the baseline
    unclear: tuple[str, ...]  # not shown to differ from the baseline
    conclusive: bool  # whether n is large enough for any corrected p-value below 0.05

    @property
    def best(self) -> dict[str, Any]:
        """The row with the best mean on test data."""
        return self.rows[0]

    @property
    def measure(self) -> Measure:
        """The score that is compared."""
        return measure_of(self.best)


def find(summary: pd.DataFrame) -> Finding:
    """The finding of the tuned setting, or of the article's if only that compares techniques."""
    settings = ordered_settings(summary)
    techniques = summary["setting"].value_counts()
    compared = [setting for setting in settings if techniques[setting] > 1] or settings
    setting = compared[0]
    rows = ranked(summary, setting)
    others = rows[rows["technique"] != BASELINE]
    differs = others["p_holm"] < SIGNIFICANCE
    gains = measure_of(rows.iloc[0]).sign * others["difference"]
    n = int(rows["n"].min())
    return Finding(
        study=str(rows["study"].iloc[0]),
        setting=setting,
        techniques=len(rows),
        n=n,
        rows=tuple({str(k): v for k, v in row.items()} for row in rows.to_dict("records")),
        candidates=_names(rows, rows["p_best"] >= SIGNIFICANCE),
        better=_names(others, differs & (gains > 0)),
        worse=_names(others, differs & (gains < 0)),
        unclear=_names(others, ~differs),
        conclusive=bool(len(others)) and statistics.smallest_p(n) * len(others) < SIGNIFICANCE,
    )


def ordered_settings(table: pd.DataFrame) -> list[str]:
    """The settings in a table, `tuned` first, because it answers the question of the study."""
    return sorted(table["setting"].unique(), key=lambda setting: setting != "tuned")


def ranked(summary: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The rows of one setting by mean score on test data, best first; ties keep their order."""
    rows = summary[summary["setting"] == setting]
    measure = measure_of(rows.iloc[0])
    return rows.sort_values(
        measure.name,
        ascending=measure.better == "lower",
        kind="stable",
        ignore_index=True,
        key=lambda means: means.round(12),  # rounding errors make equal means differ
    )


def measure_of(row: "Mapping[Any, Any] | pd.Series[Any]") -> Measure:
    """The score on test data that a row of the summary compares."""
    return tasks.named(row["task"]).test


@dataclass(frozen=True)
class Ranks:
    """Ranks of the techniques that all studies have; rank 1 has the best mean on test data.

    `table`: one row per technique, best mean rank first, with a column per study and `mean`.
    `difference`: mean ranks that differ by less could differ by chance (Nemenyi, 0.05).
    """

    table: pd.DataFrame
    difference: float


def rank(findings: Mapping[str, Finding]) -> Ranks | None:
    """Ranks over studies (Demsar 2006); None with fewer than two studies or techniques.

    A technique without a finite mean in every study is left out. Ranks say which technique tends
    to do well, not by how much.
    """
    scores = pd.DataFrame(
        {
            name: {
                row["technique"]: finding.measure.sign * row[finding.measure.name]
                for row in finding.rows
            }
            for name, finding in findings.items()
        }
    ).dropna()
    if min(scores.shape) < 2:
        return None
    ranks = scores.rank(ascending=False)
    ranks["mean"] = ranks.mean(axis=1)
    difference = statistics.critical_difference(len(ranks), len(findings))
    return Ranks(ranks.sort_values("mean", kind="stable"), difference)


def _names(rows: pd.DataFrame, chosen: "pd.Series[bool]") -> tuple[str, ...]:
    return tuple(rows.loc[chosen, "technique"])


# As text


def table(summary: pd.DataFrame) -> str:
    """The summary as aligned plain text: one block a setting, the best technique first."""
    return "\n\n".join(_block(ranked(summary, setting)) for setting in ordered_settings(summary))


def _block(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    leak = "; its validation data leak" if rows["leaks"].any() else ""
    title = f"{first['study']}, {first['setting']} setting (95 % intervals over seeds{leak})"
    measure = measure_of(first)
    difference = f"difference to none{', points' if measure.share else ''}"
    head = ("technique", measure.heading, difference, "p (Holm)", "n")
    cells = [head, *(_cells(row) for row in rows.to_dict("records"))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    notes = [
        f"{row['diverged']} of {row['n']} runs of {row['technique']} diverged; they count with"
        " their values before that"
        for row in rows[rows["diverged"] > 0].to_dict("records")
    ]
    return "\n".join([title, lines[0], "─" * max(map(len, lines)), *lines[1:], *notes])


def _cells(row: Mapping[Any, Any]) -> tuple[str, ...]:
    measure = measure_of(row)
    score = interval(measure.value, row, measure.name)
    if row["technique"] == BASELINE:
        return (BASELINE, score, "baseline", "", str(row["n"]))
    difference = interval(measure.difference, row, "difference")
    return (row["technique"], score, difference, p_text(row["p_holm"]), str(row["n"]))
