"""What results show, in sentences: a study's headline, its groups of techniques, and cautions."""

from pathlib import Path

from pipeline import results
from pipeline.analysis import summary
from pipeline.analysis.summary import BASELINE, SIGNIFICANCE, Finding
from pipeline.datasets import about as studied
from pipeline.datasets.about import About
from pipeline.formatting import interval, p_words


def headline(finding: Finding, title: str) -> str:
    """The main finding of a study in one or two sentences, no stronger than the runs support.

    `title` is the title of the study.
    """
    best, where = finding.best, f"On {title} ({finding.setting} setting)"
    measure = finding.measure
    score = f"{interval(measure.value, best, measure.name, measure.unit)} over {finding.n} seeds"
    if best["technique"] == BASELINE:
        return (
            f"{where}, training without regularization has the {measure.best} mean"
            f" {measure.title}: {score}."
        )
    lead = interval(measure.difference, best, "difference", measure.difference_unit)
    p = p_words(best["p_holm"])
    verdict = (
        f"That is {lead} compared with no regularization ({p})."
        if best["technique"] in finding.better
        else f"Its lead over no regularization, {lead}, could be due to chance ({p})."
    )
    return (
        f"{where}, {best['technique']} has the {measure.best} mean {measure.title}: {score}."
        f" {verdict}"
    )


def told(folder: Path) -> tuple[str, str]:
    """The tables of a study's results, and the headline with the advice."""
    rows = results.read_summary(folder)
    advised = results.read_advice(folder)["text"]
    finding = headline(summary.find(rows), studied.read(folder).title)
    return summary.table(rows), f"{finding}\n{advised}"


def scope(about: About, epochs: int) -> str:
    """The scope of advice: On Circles with 30 training points and up to 1,000 epochs."""
    points = about.sizes["leak_free"]["train"]  # of the tuned setting
    return f"On {about.title} with {points:,} training points and up to {epochs:,} epochs"


def groups(finding: Finding) -> dict[str, tuple[str, ...]]:
    """The techniques that could be the best, are better, worse or unclear, by label on the page.

    Empty groups are left out.
    """
    labelled = {
        "Could be the best": finding.candidates,
        "Better than no regularization": finding.better,
        "Worse than no regularization": finding.worse,
        "No difference to no regularization shown": finding.unclear,
    }
    return {label: names for label, names in labelled.items() if names}


def caution(finding: Finding) -> str:
    """Why a study is too small to show any difference; empty if it is large enough."""
    if finding.conclusive:
        return ""
    return (
        f"With {finding.n} paired seeds and {finding.techniques} techniques, no corrected p-value"
        f" can be below {SIGNIFICANCE}: more seeds are needed to show any difference."
    )
