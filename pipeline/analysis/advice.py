"""One plain piece of advice per data set: what to use, at which values, and how sure that is.

Which technique is advised follows from the verdicts on the final runs. At which values, and which
technique validation would have picked, follows from `tuned.json` alone, which has seen no test
data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.analysis.summary import BASELINE, Finding
from pipeline.datasets.task import named
from pipeline.formatting import interval, number, p_text

Tuned = Mapping[str, Any]


@dataclass(frozen=True)
class Advice:
    """What to use on a data set."""

    technique: str | None  # None: the study cannot tell
    values: Mapping[str, float]  # chosen on validation data
    at_edge: tuple[str, ...]  # of these, the ones at an end of the range searched
    by_validation: str  # the technique whose best trial validates best
    text: str


def advise(finding: Finding, tuned: Tuned, where: str) -> Advice:
    """The advice that a finding allows; `where` begins the sentence, such as `On Circles`."""
    technique = _technique(finding)
    picked, val = by_validation(tuned), named(tuned["task"]).val
    if technique is None:
        why = "there are no tuned runs" if finding.setting != "tuned" else _too_few(finding)
        return Advice(None, {}, (), picked, f"{where}: no advice, for {why}.")
    found = tuned["techniques"][technique]
    sentences = [
        f"{where}: {_verdict(finding, technique, values_text(found['values']))}",
        *_edges(technique, found),
        f"Validation alone, before any test, favoured {picked}"
        f" ({val.told(tuned['techniques'][picked][val.name])}{_flattered(tuned, picked)}).",
    ]
    edges = tuple(found["at_edge"])
    return Advice(technique, found["values"], edges, picked, " ".join(sentences))


def by_validation(tuned: Tuned) -> str:
    """The technique whose best trial has the best validation score, then the lowest loss."""
    task = named(tuned["task"])
    techniques: dict[str, dict[str, Any]] = tuned["techniques"]
    return min(techniques, key=lambda name: task.rank(techniques[name]))


def _flattered(tuned: Tuned, technique: str) -> str:
    """What a score is that early stopping chose."""
    stops = tuned["techniques"][technique]["stops_early"]
    return "; the best of its epochs, where others count their last" if stops else ""


def range_text(searched: Mapping[str, Any]) -> str:
    """A range of `tuned.json`, such as 1e-6 to 0.1, log scale."""
    scale = ", log scale" if searched["log"] else ""
    return f"{number(searched['low'])} to {number(searched['high'])}{scale}"


def values_text(values: Mapping[str, float]) -> str:
    """Chosen values, such as rate 0.134 and learning rate 0.0127; the learning rate last."""
    order = sorted(values, key=lambda name: name == "learning_rate")
    told = [f"{name.replace('_', ' ')} {number(values[name])}" for name in order]
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _technique(finding: Finding) -> str | None:
    if finding.setting != "tuned" or not finding.conclusive:
        return None
    return finding.better[0] if finding.better else BASELINE


def _too_few(finding: Finding) -> str:
    return f"{finding.n} seeds are too few to tell {finding.techniques} techniques apart"


def _verdict(finding: Finding, technique: str, values: str) -> str:
    """What to do, and how sure it is."""
    if technique == BASELINE:
        return f"train without regularization, at {values}. {_doubt(finding)}"
    row = next(row for row in finding.rows if row["technique"] == technique)
    measure = finding.measure
    lead = interval(measure.difference, row, "difference", measure.difference_unit)
    rivals = [name for name in finding.candidates if name not in (technique, BASELINE)]
    also = (
        f" May also be the best: {', '.join(rivals)}."
        if rivals
        else " No other technique was as good."
    )
    return (
        f"use {technique}, at {values}. Against no regularization that is {lead} of {measure.title}"
        f" over {finding.n} seeds, corrected p: {p_text(row['p_holm'])}.{also}"
    )


def _doubt(finding: Finding) -> str:
    """Why the baseline is advised: nothing was shown to be better than it."""
    best, measure = finding.best, finding.measure
    if best["technique"] == BASELINE:
        return f"No technique has a {measure.better} mean {measure.title}."
    lead = interval(measure.difference, best, "difference", measure.difference_unit)
    return (
        f"No technique was shown to be better over {finding.n} seeds: the lead of"
        f" {best['technique']}, {lead}, may be chance (corrected p: {p_text(best['p_holm'])}),"
        " which does not say that it is."
    )


def _edges(technique: str, found: Mapping[str, Any]) -> list[str]:
    return [
        f"The {name.replace('_', ' ')} of {technique} lies at the edge of the range searched"
        f" ({range_text(found['search'][name])}): a wider search could do better."
        for name in found["at_edge"]
    ]
