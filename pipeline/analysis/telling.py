"""What a finding shows, in the units of its outcomes: the sentences of headline and advice."""

from collections.abc import Sequence

import numpy as np

from pipeline.analysis.summary import (
    Finding,
    Row,
    by_holm_alone,
    check_text,
    corrected_p,
    difference_text,
    gain,
    measure_of,
)
from pipeline.datasets.task import Measure
from pipeline.techniques.registry import BASELINE


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["l1", "l2", "dropout"])
    'l1, l2 and dropout'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def amount(measure: Measure, size: float) -> str:
    """A size in a measure, with its unit and a sign only if it is below zero: 0.31 points."""
    return f"{measure.difference(size).lstrip('+')}{measure.difference_unit}"


def improves(measure: Measure) -> str:
    """What a measure does where it gets better: rises or falls."""
    return "falls" if measure.better == "lower" else "rises"


def evidence(row: Row) -> str:
    """The size of a gain, its simultaneous interval and p: 3.10 points [2.40, 3.80], ..."""
    measure, estimate = measure_of(row), gain(row)
    low, high = (measure.difference(end).lstrip("+") for end in estimate[1:])
    p = corrected_p(row)
    equals = p if p.startswith("<") else f"= {p}"
    return f"{amount(measure, estimate.mean)} [{low}, {high}] (corrected p {equals})"


def gains(rows: Sequence[Row]) -> str:
    """That an outcome gets better with each of these techniques, by how much, and how sure."""
    measure = measure_of(rows[0])
    sizes = listed([f"by {evidence(row)} with {row['technique']}" for row in rows])
    return f"{measure.title} {improves(measure)} {sizes}"


def ruled_out(finding: Finding) -> str:
    """What the intervals exclude for all techniques at once, and what Holm alone shows."""
    measure = finding.measure
    if not np.isfinite(finding.ruled_out):
        bound = f"A technique has no finite {measure.title}, so no gain is ruled out."
    elif finding.ruled_out == 0:
        bound = f"Gains in {measure.title} are ruled out."
    else:
        size = amount(measure, finding.ruled_out)
        bound = f"Gains in {measure.title} above {size} are ruled out."
    alone = [row for row in finding.compared if by_holm_alone(row)]
    told = [
        f"{row['technique']} differs from {BASELINE} by Holm's test alone, by {evidence(row)}."
        for row in alone
    ]
    return " ".join([bound, *told])


def baseline_lost(row: Row) -> str:
    """That the tuned baseline is worse than the article's values, so that nothing follows."""
    return (
        f"Without regularization, tuned values are worse than the article's on the same rows and"
        f" epochs ({measure_of(row).title} {check_text(row)}): the search was too short or too"
        " noisy."
    )


def not_shown(row: Row) -> str:
    """That a technique's difference is not shown, with its estimate."""
    measure = measure_of(row)
    return f"{measure.title} is not shown to differ: {difference_text(row, unit=True)}."


def to_resolve(finding: Finding) -> str:
    """How many replicates would tell what is unresolved; empty if nothing is."""
    size = amount(finding.measure, finding.margin)
    if np.isnan(finding.needed):
        return ""
    if np.isinf(finding.needed):
        why = f": {listed(finding.limits)}" if finding.limits else ""
        return f"No number of replicates would show a difference of {size}{why}."
    return enough(size, finding.needed, finding.n)


def enough(size: str, needed: float, n: int) -> str:
    """How many replicates would show a difference of some size, or that there are as many.

    >>> enough("0.50 points", needed=29, n=10)
    'A difference of 0.50 points would take about 29 replicates to show.'
    >>> enough("0.50 points", needed=9, n=10)
    '10 replicates show a difference of 0.50 points in four of five studies.'
    """
    if needed <= n:
        return f"{n} replicates show a difference of {size} in four of five studies."
    return f"A difference of {size} would take about {count(needed)} replicates to show."


def side_gains(finding: Finding, techniques: Sequence[str] | None = None) -> str:
    """What is shown to be better beside the score, of some techniques or all; empty if nothing."""
    sentences = []
    for rows in finding.side_gains.values():
        chosen = [row for row in rows if techniques is None or row["technique"] in techniques]
        if chosen:
            sentences.append(_side_gain(chosen))
    return " ".join(sentences)


def _side_gain(rows: Sequence[Row]) -> str:
    """The evidence for one technique, the sizes alone for several: the table has the rest."""
    measure = measure_of(rows[0])
    if len(rows) == 1:
        return sentence(f"{gains(rows)}.")
    sizes = listed([f"by {amount(measure, gain(r).mean)} with {r['technique']}" for r in rows])
    return sentence(f"{measure.title} {improves(measure)} {sizes}.")


def sentence(words: str) -> str:
    """Words with their first letter as a capital."""
    return words[:1].upper() + words[1:]


def by_validation_words(rivals: str) -> str:
    """Why one of several techniques is named, of which none is shown to be the best."""
    return (
        f"It is the best of them on validation data; that it is better than {rivals} is not shown."
    )


def count(replicates: float) -> str:
    """A number of replicates to two significant digits, since it is an estimate.

    >>> count(29), count(1234)
    ('29', '1,200')
    """
    if replicates > 10_000:
        return "more than 10,000"
    return f"{float(f'{replicates:.2g}'):,.0f}"
