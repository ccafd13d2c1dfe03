"""What a setting that no search decides was given, beside what was published of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline import results
from pipeline.analysis import article
from pipeline.analysis.summary import Finding
from pipeline.config.sections import OF_TRAINING
from pipeline.datasets.task import Measure
from pipeline.formatting import number
from pipeline.techniques.registry import BASELINE, TECHNIQUES, explained


@dataclass(frozen=True)
class Printed:
    """A measured mean, and the number that was published."""

    row: Mapping[str, object]  # of the summary
    published: float | None  # None: nothing was, of this technique


@dataclass(frozen=True)
class Given:
    """A technique, the values that it was trained with, and what was published of it."""

    technique: str
    words: str  # what it does
    values: str  # hyperparameters, such as rate 0.2, learning rate 0.1, momentum 0.9
    printed: tuple[Printed, ...]  # of each measure of the table


@dataclass(frozen=True)
class Table:
    """The techniques of one setting, with the values that they were given."""

    measures: tuple[Measure, ...]  # of which numbers were published
    rows: tuple[Given, ...]


def table(runs: pd.DataFrame, summary: pd.DataFrame, finding: Finding) -> Table | None:
    """What the setting of a finding was given; None where searches chose its values.

    Args:
        runs: final runs of the setting.
        summary: the table of `analysis.summary`.
    """
    if finding.searched:
        return None
    of_article = finding.setting == "article"  # whose points are those of the published numbers
    published = article.published().get(finding.study, {}) if of_article else {}
    own = summary[summary["setting"] == finding.setting]
    firsts = {str(row["technique"]): row for row in runs.to_dict("records")[::-1]}
    rows = {
        (str(row["technique"]), str(row["outcome"])): {str(k): v for k, v in row.items()}
        for row in own.to_dict("records")
    }
    names = [str(row["technique"]) for row in finding.primary]
    columns = [
        name
        for name in dict.fromkeys(name for each in published.values() for name in each)
        if all((technique, name) in rows for technique in names)
    ]
    task, told = results.task_of(runs), words(runs)
    return Table(
        measures=tuple(task.measures[name] for name in columns),
        rows=tuple(
            Given(
                technique=name,
                words=told.get(name, ""),
                values=_values(firsts[name], firsts[BASELINE]),
                printed=tuple(
                    Printed(rows[name, column], published.get(name, {}).get(column))
                    for column in columns
                ),
            )
            for name in names
        ),
    )


def words(runs: pd.DataFrame) -> dict[str, str]:
    """What each technique of some runs does, or what it combines."""
    firsts = runs.drop_duplicates("technique").to_dict("records")
    return {
        str(row["technique"]): explained(str(row["made_of"]))
        if isinstance(row.get("made_of"), str)
        else TECHNIQUES[row["technique"]].summary
        for row in firsts
        if isinstance(row.get("made_of"), str) or row["technique"] in TECHNIQUES
    }


def _values(row: Mapping[Any, Any], baseline: Mapping[Any, Any]) -> str:
    """The hyperparameters of a run in words, those of its training last.

    Epochs are among them where they are not those of the baseline.
    """
    known = {k: float(v) for k, v in results.params_of(row).items() if pd.notna(v)}
    if known.get("epochs") == results.params_of(baseline).get("epochs"):
        known.pop("epochs", None)
    ordered = [k for k in known if k not in OF_TRAINING] + [k for k in OF_TRAINING if k in known]
    return ", ".join(f"{k.replace('_', ' ')} {number(known[k])}" for k in ordered)
