"""The advice says no more than the runs allow, and names the values that were chosen."""

from typing import Any

import pytest

from pipeline.analysis import summary
from pipeline.analysis.advice import Advice, advise, by_validation, values_text

from .synthetic import make_runs, make_tuned

EFFECTS = {"none": 0.0, "l2": 0.03, "dropout": 0.0, "l1": -0.05}


def advice(effects: dict[str, float], at_edge: tuple[str, ...] = (), **runs: Any) -> Advice:
    finding = summary.find(summary.summarize(make_runs(effects, **runs)))
    return advise(finding, make_tuned(list(effects), at_edge), "On Circles")


def test_a_technique_that_is_better_is_advised_at_its_chosen_values() -> None:
    advised = advice(EFFECTS)
    assert advised.technique == "l2"
    assert advised.values == make_tuned(["l2"])["techniques"]["l2"]["values"]
    assert advised.text.startswith(
        "On Circles: use l2, at strength 0.00031 and learning rate 0.002. Compared with no"
        " regularization that is +3."
    )
    evidence = "over 10 seeds (corrected p = 0.006). Every other technique was shown to be worse."
    assert evidence in advised.text


def test_rivals_of_the_best_are_named() -> None:
    advised = advice({"none": 0.0, "l2": 0.03, "l1_l2": 0.0301})
    assert advised.technique in ("l2", "l1_l2")
    rival = {"l2": "l1_l2", "l1_l2": "l2"}[advised.technique]
    assert f"These could also be the best: {rival}." in advised.text


@pytest.mark.parametrize(
    ("effects", "words"),
    [
        ({"none": 0.0, "l2": -0.05}, "No technique has a higher mean test accuracy."),
        ({"none": 0.0, "l2": 0.0, "dropout": 0.001}, "could be due to chance (corrected p = "),
    ],
)
def test_without_a_proven_gain_no_regularization_is_advised(
    effects: dict[str, float], words: str
) -> None:
    advised = advice(effects)
    assert advised.technique == "none"
    assert "On Circles: train without regularization, at strength 0.00031 and" in advised.text
    assert words in advised.text


def test_a_value_at_the_edge_is_told_of_the_advised_technique_only() -> None:
    warning = "The strength of l2 lies at the edge of its search range (1e-5 to 0.1, log scale)"
    assert warning in advice(EFFECTS, ("l2", "l1")).text
    assert advice(EFFECTS, ("l2",)).at_edge == ("strength",)
    assert "edge" not in advice(EFFECTS, ("l1",)).text


def test_too_few_seeds_or_no_tuned_runs_give_no_advice() -> None:
    few, article = advice(EFFECTS, seeds=4), advice(EFFECTS, setting="article")
    reason = "4 seeds are too few to compare 4 techniques"
    assert few.text == f"On Circles: no advice, because {reason}."
    assert article.text == "On Circles: no advice, because there are no tuned runs."
    assert few.technique is article.technique is None


def test_validation_picks_the_best_trial_and_the_lower_loss_among_equals() -> None:
    tuned = make_tuned(["none", "l1", "l2"])
    tuned["techniques"]["l1"]["val_loss"] = 0.3
    tuned["techniques"]["l2"]["val_loss"] = None
    assert by_validation(tuned) == "l1"
    tuned["techniques"]["l2"]["val_accuracy"] = 0.9
    assert by_validation(tuned) == "l2"


def test_a_validation_score_that_early_stopping_chose_is_told_to_be_flattered() -> None:
    finding, tuned = summary.find(summary.summarize(make_runs(EFFECTS))), make_tuned(list(EFFECTS))
    tuned["techniques"]["l1"] |= {"val_accuracy": 0.99, "stops_early": True}
    note = "l1 was best (99.00 %; its best epoch, while the others count their last)."
    assert note in advise(finding, tuned, "On Circles").text
    tuned["techniques"]["l1"] |= {"stops_early": False, "values": {"patience": 3}}
    assert "l1 was best (99.00 %)." in advise(finding, tuned, "On Circles").text


def test_values_are_told_with_the_learning_rate_last() -> None:
    values = {"learning_rate": 0.0127, "rate": 0.134, "strength": 1.65e-5}
    assert values_text(values) == "rate 0.134, strength 1.65e-5 and learning rate 0.0127"
    assert values_text({"learning_rate": 0.001}) == "learning rate 0.001"
