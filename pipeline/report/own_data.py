"""What the page of people's own data says in their words: the score, and what a gain is worth."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.summary import Finding, gain
from pipeline.analysis.telling import amount
from pipeline.datasets.about import About
from pipeline.datasets.task import Task
from pipeline.formatting import number

UNITS: Mapping[str, str] = {"table": "rows", "folder": "pictures"}  # by source; else examples


@dataclass(frozen=True)
class Words:
    """Sentences about a study's own data."""

    split: str  # how many examples there are, and what they are used for
    score: str  # what the score means
    worth: str  # what a difference of it means
    gained: str  # what the advised technique gains, in the same unit; empty without one


def words(about: About, task: Task, finding: Finding) -> Words:
    """The sentences for a study, whose score on test examples is `finding.measure`."""
    units = UNITS.get(about.source, "examples")
    target = about.target or "what is predicted"
    return Words(
        split=_split(about, units),
        score=_score(about, task, units, target),
        worth=_worth(about, task, units, target),
        gained=_gained(finding, task, units),
    )


def _split(about: About, units: str) -> str:
    sizes, draws = about.sizes["leak_free"], about.draws["leak_free"]
    parts = (
        f"{sizes['train']:,} to train on, {sizes['val']:,} to choose by and {sizes['test']:,} to"
        " test on"
    )
    if draws == 1:
        return f"{sum(sizes.values()):,} {units}: {parts}."
    return f"{sum(sizes.values()):,} {units} in each of {draws:,} draws: {parts}."


def _score(about: About, task: Task, units: str, target: str) -> str:
    """What the score means, in one sentence."""
    one, other = _two(about)
    log_loss = (
        f"Log loss is the mean of \N{MINUS SIGN}log p, where p is the probability of the class that"
        f" is right: 0 is perfect, {np.log(max(len(about.classes), 2)):.3g} is what equal"
        " probabilities give."
    )
    squared = (
        "The loss is the mean squared error between an example's values and the model's outputs."
        if task.target.of_input
        else f"The loss is the mean squared error of the standardized {target}: 0 is perfect, 1 is"
        " what the mean gives."
    )
    return {
        "accuracy": f"Accuracy is the share of {units} whose class is predicted rightly.",
        "balanced_accuracy": f"Balanced accuracy is the share of {units} that are predicted rightly"
        " in each class, averaged over the classes: a rare class counts as much as a frequent one.",
        "roc_auc": f"ROC AUC is the chance that the model orders {one} and {other} rightly, given"
        " one of each: 1 is perfect, 0.5 is chance.",
        "f1": f"F1 is the harmonic mean of precision (how many of those called {one} are) and"
        f" recall (how many {one} are found): 1 is perfect.",
        "loss": log_loss if task.labels else squared,
        "rmse": f"RMSE is the root of the mean squared error, in the unit of {target}: large errors"
        " count most.",
        "mae": f"MAE is the mean absolute error, in the unit of {target}.",
        "r2": f"R\N{SUPERSCRIPT TWO} is the share of the variance of {target} that is explained: 1"
        " is perfect, 0 is what the mean gives.",
    }[task.score.name]


def _worth(about: About, task: Task, units: str, target: str) -> str:
    """What a difference in the score is in the user's unit."""
    one, other = _two(about)
    spread = f"; its standard deviation is {number(about.spread)}" if about.spread else ""
    loss = (
        "0.01 less is a probability of the right class that is 1 % larger, as a geometric mean."
        if task.labels
        else "It is in the unit of these values, squared."
        if task.target.of_input
        else f"0.01 is 1 % of the variance of {target}."
    )
    unit = f"A difference of 1 is 1 in the unit of {target}{spread}."
    return {
        "accuracy": f"1 point of accuracy is 1 of 100 {units}.",
        "balanced_accuracy": f"1 point is 1 of 100 {units} of every class.",
        "roc_auc": f"0.01 is 1 of 100 such pairs of {one} and {other}.",
        "f1": "0.01 is what 1 point more of both precision and recall gives.",
        "loss": loss,
        "rmse": unit,
        "mae": unit,
        "r2": f"0.01 is 1 % of the variance of {target}.",
    }[task.score.name]


def _two(about: About) -> tuple[str, str]:
    """The class that is looked for and the other one, in a sentence."""
    if len(about.classes) == 2:
        return f"\N{LEFT DOUBLE QUOTATION MARK}{about.classes[1]}\N{RIGHT DOUBLE QUOTATION MARK}", (
            f"\N{LEFT DOUBLE QUOTATION MARK}{about.classes[0]}\N{RIGHT DOUBLE QUOTATION MARK}"
        )
    return "a class", "the others"


def _gained(finding: Finding, task: Task, units: str) -> str:
    """What the advised technique gains over no regularization, where it gains in the score."""
    technique, measure = finding.champion, finding.measure
    if technique is None or technique not in finding.better:
        return ""
    size = gain(next(row for row in finding.compared if row["technique"] == technique))
    if task.score.name == "accuracy":
        mean, low, high = (f"{round(1000 * share):,}" for share in size)
        return (
            f"{technique} predicts {mean} [{low}, {high}] more of 1,000 {units} rightly than no"
            " regularization."
        )
    low, high = (measure.difference(end).lstrip("+") for end in size[1:])
    told = f"by {amount(measure, size.mean)} [{low}, {high}]"
    if measure.better == "higher":
        return f"{technique} raises {measure.title} {told}."
    share = 100 * size.mean / float(finding.baseline["mean"])
    return (
        f"{technique} lowers {measure.title} {told}, which is {share:.0f} % of what it is without"
        " regularization."
    )
