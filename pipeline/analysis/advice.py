"""One plain piece of advice per study: which technique, at which values, and how sure that is.

The technique follows from the final runs. Its values, and the technique that is best on validation
data, come from `tuned.json`, which was made without test data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.analysis.summary import BASELINE, Finding
from pipeline.datasets.task import named
from pipeline.formatting import interval, number, p_words

Tuned = Mapping[str, Any]


@dataclass(frozen=True)
class Advice:
    """What to use on the data of a study."""

    technique: str | None  # None: the study cannot tell
    values: Mapping[str, float]  # hyperparameters, chosen on validation data
    at_edge: tuple[str, ...]  # hyperparameters whose value is at an end of its search range
    by_validation: str  # the technique that is best on validation data
    text: str


def advise(finding: Finding, tuned: Tuned, where: str) -> Advice:
    """The advice that a finding supports; the text begins with `where`, such as `On Circles`."""
    technique = _technique(finding)
    favourite, val = by_validation(tuned), named(tuned["task"]).val
    if technique is None:
        why = "there are no tuned runs" if finding.setting != "tuned" else _too_few(finding)
        return Advice(None, {}, (), favourite, f"{where}: no advice, because {why}.")
    chosen = tuned["techniques"][technique]
    score = val.told(tuned["techniques"][favourite][val.name])
    sentences = [
        f"{where}: {_verdict(finding, technique, values_text(chosen['values']))}",
        *_edge_warnings(technique, chosen),
        f"On validation data alone, {favourite} was best"
        f" ({score}{_best_epoch_note(tuned, favourite)}).",
    ]
    edges = tuple(chosen["at_edge"])
    return Advice(technique, chosen["values"], edges, favourite, " ".join(sentences))


def by_validation(tuned: Tuned) -> str:
    """The technique whose best trial has the best validation score, then the lowest loss."""
    task = named(tuned["task"])
    techniques: dict[str, dict[str, Any]] = tuned["techniques"]
    return min(techniques, key=lambda name: task.rank(techniques[name]))


def _best_epoch_note(tuned: Tuned, technique: str) -> str:
    """Says that a score is the best over the epochs, if the technique stops early."""
    stops = tuned["techniques"][technique]["stops_early"]
    return "; its best epoch, while the others count their last" if stops else ""


def range_text(searched: Mapping[str, Any]) -> str:
    """A search range of `tuned.json`, such as 1e-6 to 0.1, log scale."""
    scale = ", log scale" if searched["log"] else ""
    return f"{number(searched['low'])} to {number(searched['high'])}{scale}"


def values_text(values: Mapping[str, float]) -> str:
    """Hyperparameters with the learning rate last: rate 0.134 and learning rate 0.0127."""
    order = sorted(values, key=lambda name: name == "learning_rate")
    parts = [f"{name.replace('_', ' ')} {number(values[name])}" for name in order]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _technique(finding: Finding) -> str | None:
    """The advised technique; None if the runs do not support any advice."""
    if finding.setting != "tuned" or not finding.conclusive:
        return None
    return finding.better[0] if finding.better else BASELINE


def _too_few(finding: Finding) -> str:
    return f"{finding.n} seeds are too few to compare {finding.techniques} techniques"


def _verdict(finding: Finding, technique: str, values: str) -> str:
    """What to use, and the evidence for it."""
    if technique == BASELINE:
        return f"train without regularization, at {values}. {_why_the_baseline(finding)}"
    row = next(row for row in finding.rows if row["technique"] == technique)
    measure = finding.measure
    lead = interval(measure.difference, row, "difference", measure.difference_unit)
    rivals = [name for name in finding.candidates if name not in (technique, BASELINE)]
    rest = (
        f" These could also be the best: {', '.join(rivals)}."
        if rivals
        else " Every other technique was shown to be worse."
    )
    return (
        f"use {technique}, at {values}. Compared with no regularization that is {lead} of"
        f" {measure.title} over {finding.n} seeds ({p_words(row['p_holm'])}).{rest}"
    )


def _why_the_baseline(finding: Finding) -> str:
    """Says that no technique was shown to be better than the baseline."""
    best, measure = finding.best, finding.measure
    if best["technique"] == BASELINE:
        return f"No technique has a {measure.better} mean {measure.title}."
    lead = interval(measure.difference, best, "difference", measure.difference_unit)
    return (
        f"No technique was shown to be better over {finding.n} seeds: the lead of"
        f" {best['technique']}, {lead}, could be due to chance ({p_words(best['p_holm'])})."
    )


def _edge_warnings(technique: str, chosen: Mapping[str, Any]) -> list[str]:
    """A sentence for each hyperparameter whose chosen value is at the edge of its range."""
    return [
        f"The {name.replace('_', ' ')} of {technique} lies at the edge of its search range"
        f" ({range_text(chosen['search'][name])}): a wider range may be better."
        for name in chosen["at_edge"]
    ]
