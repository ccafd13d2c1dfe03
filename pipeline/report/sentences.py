"""What results show, in sentences: a study's headline, its groups of techniques, and cautions."""

from pathlib import Path

from pipeline import results
from pipeline.analysis import by_example, sizes, summary, yardsticks
from pipeline.analysis.families import Group
from pipeline.analysis.summary import Finding, difference_text, told_apart
from pipeline.analysis.telling import (
    amount,
    baseline_lost,
    gains,
    listed,
    ruled_out,
    sentence,
    side_gains,
    to_resolve,
)
from pipeline.datasets import about as studied
from pipeline.datasets.about import About
from pipeline.formatting import counted, interval

SETTINGS = {
    "tuned": "tuned setting",
    "tuned_by_loss": "tuned by loss",
    "article": "article setting",
    "article_fresh": "article's values on fresh draws",
    summary.UNTUNED: "untuned setting",
}


def setting_words(finding: Finding) -> str:
    """The name of a finding's setting in a sentence or heading, such as tuned setting."""
    return SETTINGS.get(finding.called, f"{finding.called} setting")


def headline(finding: Finding, title: str) -> str:
    """What is known about a study's score and its secondary outcomes, in their own units.

    `title` is the title of the study.
    """
    where = f"On {title} ({setting_words(finding)})"
    measure = finding.measure
    if not finding.compared:
        score = interval(measure.value, finding.baseline, "mean", measure.unit)
        return f"{where}, nothing was compared; without regularization {measure.title} is {score}."
    if not finding.conclusive:
        return f"{where}, nothing is known: a comparison needs at least two replicates."
    if finding.lost:
        return f"{where}, nothing follows. {baseline_lost(finding.lost)}"
    told = _shown(finding) if finding.better else _not_shown(finding)
    parts = (f"{where}, {told}", side_gains(finding), _references(finding))
    return " ".join(part for part in parts if part)


def known(finding: Finding) -> str:
    """What is known of a study, in one line: outcome, size, and how sure."""
    if not finding.compared or not finding.conclusive:
        return "nothing yet: a comparison needs two techniques and two replicates"
    if finding.lost:
        return f"nothing follows: {baseline_lost(finding.lost)}"
    if finding.better:
        best = finding.winner or finding.champion
        if best is None:  # nothing was tuned, so nothing chooses between several
            return sentence(
                gains([r for r in finding.compared if r["technique"] in finding.better])
            )
        row = next(row for row in finding.compared if row["technique"] == best)
        others = len(finding.better) - 1
        also = f"; {others} more {'help' if others > 1 else 'helps'}" if others else ""
        return f"{sentence(gains([row]))}{also}"
    parts = (
        "No technique is shown to help.",
        ruled_out(finding),
        side_gains(finding),
        _references(finding),
    )
    return " ".join(part for part in parts if part)


def use(finding: Finding) -> str:
    """What to use, in one line."""
    technique = finding.champion
    if technique is None:
        return _no_technique(finding)
    if finding.winner:
        return f"{technique}, shown to be the best"
    several = len(finding.better or finding.harmless) > 1
    return f"{technique}, the best on validation data" if several else technique


def _no_technique(finding: Finding) -> str:
    """Why no technique is named, in the words of the advice."""
    if finding.setting != "tuned" or finding.lost or not finding.conclusive:
        return "no advice"
    unresolved = finding.of_group("unresolved")
    if unresolved:
        of = "" if len(unresolved) == len(finding.compared) else f" on {listed(unresolved)}"
        return f"no evidence either way{of}"
    if finding.of_group("no difference"):
        return f"no difference of {amount(finding.measure, finding.margin)} or more"
    return "no technique: all are worse"


def _references(finding: Finding) -> str:
    """What techniques show that are not given what the others are, such as as many epochs."""
    shown = [row for row in finding.references if told_apart(row)]
    if not shown:
        return ""
    searches = "a search of its own" if len(shown) == 1 else "searches of their own"
    unlike = f"without {searches}" if finding.searched else "over another number of epochs"
    differences = (f"{row['technique']} {difference_text(row, unit=True)}" for row in shown)
    return f"For reference, {unlike}: {listed([*differences])}."


def _shown(finding: Finding) -> str:
    """Which techniques have a better score, and whether one of them is the best."""
    rows = [row for row in finding.compared if row["technique"] in finding.better]
    known = f"{gains(rows)}, against no regularization, over {counted(finding.n, 'replicate')}."
    if finding.winner:
        return f"{known} {finding.winner} is shown to be the best of the techniques compared."
    return f"{known} Which of them is the best is not shown." if len(rows) > 1 else known


def _not_shown(finding: Finding) -> str:
    """That no technique has a better score, what is ruled out, and what it would take."""
    replicates = counted(finding.n, "replicate")
    known = f"no technique is shown to improve {finding.measure.title} over {replicates}."
    return " ".join(part for part in (known, ruled_out(finding), to_resolve(finding)) if part)


def told(folder: Path) -> tuple[str, str]:
    """The tables of a study's results, and the headline with the advice."""
    rows = results.read_summary(folder)
    advised = results.read_advice(folder)
    tuned = results.read_tuned(folder)
    lost = [
        f"{failed['why']}: no tuned setting." for failed in tuned.get(results.FAILED, {}).values()
    ]
    if results.varies(tuned):
        table = sizes.table(sizes.read(results.read_runs(folder), rows))
        return table, "\n".join([str(advised["text"]), *map(sentence, lost)])
    finding = summary.find(rows)
    first = headline(finding, studied.read(folder).title)
    told = "\n".join([first, advised["text"], *map(sentence, lost)])
    simple = _simple(folder, finding, advised["by_validation"])
    return "\n\n".join([summary.table(rows), *simple]), told


def _simple(folder: Path, finding: Finding, best: str) -> list[str]:
    """The table of yardsticks, if the study has some."""
    if results.read_yardsticks(folder).empty:
        return []
    runs = results.read_runs(folder)
    found = yardsticks.read(folder, runs, finding, best, by_example.read(folder, runs))
    return [yardsticks.table(found)] if found else []


def scope(about: About, epochs: int) -> str:
    """The scope of advice: On Circles with 30 training points and up to 1,000 epochs."""
    points = about.sizes["leak_free"]["train"]  # of the tuned setting
    return f"On {about.title} with {points:,} training points and up to {epochs:,} epochs"


def groups(finding: Finding) -> dict[str, tuple[str, ...]]:
    """The techniques of each group, by label on the page, and who gains beside the score.

    Empty groups are left out; there are none if nothing follows, see `Finding.lost`.
    """
    if finding.lost:
        return {}
    margin = amount(finding.measure, finding.margin) if finding.compared else ""
    labels: dict[Group, str] = {
        "better": "Better than no regularization",
        "worse": "Worse than no regularization",
        "no difference": f"No difference above {margin}",
        "unresolved": "Unresolved",
    }
    beside = {
        f"Better in {summary.measure_of(rows[0]).title}": tuple(row["technique"] for row in rows)
        for rows in finding.side_gains.values()
    }
    labelled = {labels[title]: names for title, names in finding.groups.items()} | beside
    return {label: names for label, names in labelled.items() if names}


def caution(finding: Finding) -> str:
    """What a reader must know before comparing; empty if there is nothing."""
    if not finding.conclusive:
        return "With a single replicate or technique, no difference can be shown."
    if not finding.unequal_epochs:
        return ""
    return (
        f"{listed(finding.unequal_epochs)} trained other epochs than no regularization: their"
        " differences are of both, technique and epochs."
    )
