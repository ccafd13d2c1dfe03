"""One plain piece of advice per study: what to use, at which values, and how sure that is.

What to use follows from the `Finding`, as the headline does. Its values come from `tuned.json`,
which was made without test data.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.analysis.chosen import Chosen, Tuned, by_validation, choices
from pipeline.analysis.summary import Finding
from pipeline.analysis.telling import (
    amount,
    baseline_lost,
    by_validation_words,
    gains,
    listed,
    not_shown,
    ruled_out,
    sentence,
    side_gains,
    to_resolve,
)
from pipeline.formatting import counted
from pipeline.techniques.registry import BASELINE


@dataclass(frozen=True)
class Advice:
    """What to use on the data of a study."""

    technique: str | None  # None: nothing is shown to help, or nothing was tuned
    values: Mapping[str, float]  # hyperparameters, medians of what the searches chose
    at_edge: tuple[str, ...]  # hyperparameters that a search chose at an end of their range
    by_validation: str  # the technique that is best on validation data
    text: str


def advise(finding: Finding, tuned: Tuned, where: str) -> Advice:
    """The advice that a finding supports; the text begins with `where`, such as `On Circles`."""
    every, technique = choices(tuned), finding.champion
    # What is trained on the validation data too has no search of its own, but the baseline's.
    own = every.get(technique, every.get(BASELINE)) if technique else None
    told = _told(finding, own) if technique else _nothing(finding, every)
    return Advice(
        technique=technique,
        values=own.medians if own else {},
        at_edge=own.at_edge if own else (),
        by_validation=by_validation(tuned),
        text=f"{where}: {told}",
    )


def _told(finding: Finding, own: Chosen | None) -> str:
    """What to use, and the evidence for it."""
    technique = finding.champion
    values = f", at {own.text}" if own and own.text else ""
    candidates = finding.better or finding.harmless
    rows = [row for row in finding.compared if row["technique"] == technique]
    if finding.better:
        evidence = sentence(f"{gains(rows)}, over {counted(rows[0]['n'], 'replicate')}.")
    else:
        evidence = f"{side_gains(finding, [str(technique)])} {sentence(not_shown(rows[0]))}"
    sentences = [f"use {technique}{values}.", evidence]
    if finding.winner:
        sentences.append("It is shown to be the best of the techniques compared.")
    elif len(candidates) > 1:
        rivals = listed([name for name in candidates if name != technique])
        sentences.append(by_validation_words(rivals))
    if technique in finding.unequal_epochs:
        sentences.append(f"It trained other epochs than {BASELINE}.")
    return " ".join([*sentences, *(_edges(own) if own else ())])


def _nothing(finding: Finding, every: Mapping[str, Chosen]) -> str:
    """Why no technique is advised, without the advice to use none."""
    if finding.setting != "tuned":
        return "no advice, because no technique was tuned."
    if finding.lost:
        return f"no advice. {baseline_lost(finding.lost)}"
    if not finding.conclusive:
        return "no advice, because a comparison needs at least two replicates of two techniques."
    off = [name for name, each in every.items() if each.as_good_as_off == each.searches]
    searched = f"For {listed(off)} the search chose no regularization." if off else ""
    return " ".join(part for part in (_verdict(finding), searched) if part)


def _verdict(finding: Finding) -> str:
    """What is known if nothing is shown to help."""
    worse, same = finding.worse, finding.of_group("no difference")
    margin = amount(finding.measure, finding.margin)
    sentences = ["no technique is shown to help."]
    if worse:
        sentences.append(f"Shown to be worse than none: {listed(worse)}.")
    if same:
        sentences.append(f"No different by {margin} or more: {listed(same)}.")
    if unresolved := finding.of_group("unresolved"):
        of = "" if len(unresolved) == len(finding.compared) else f" on {listed(unresolved)}"
        sentences.append(f"There is no evidence either way{of}.")
    if len(worse) < len(finding.compared):
        sentences += [ruled_out(finding), to_resolve(finding)]
    return " ".join(part for part in sentences if part)


def _edges(own: Chosen) -> list[str]:
    """A sentence for each hyperparameter that a search chose at an end of its range."""
    return [
        f"The {value.name.replace('_', ' ')} of {own.technique} lies at the edge of its range"
        f" ({value.range}){value.where(own.searches)}: a wider range may be better."
        for value in own.values
        if value.at_edge
    ]
