"""The advice says no more than the runs allow, and names the values that were chosen."""

from typing import Any

import pytest

from pipeline.analysis import summary
from pipeline.analysis.advice import Advice, advise
from pipeline.analysis.chosen import by_validation, chosen, median
from pipeline.report import sentences

from .synthetic import make_runs, make_tuned

EFFECTS = {"none": 0.0, "l2": 0.03, "dropout": 0.0, "l1": -0.05}
NULL = dict.fromkeys(EFFECTS, 0.0)
OUTCOMES = ("test_loss",)


def find(effects: dict[str, float], **runs: Any) -> summary.Finding:
    return summary.find(summary.summarize(make_runs(effects, **runs), OUTCOMES))


def advice(
    effects: dict[str, float], at_edge: tuple[str, ...] = (), searches: int = 1, **runs: Any
) -> Advice:
    return advise(find(effects, **runs), make_tuned([*effects], at_edge, searches), "On Circles")


def test_a_technique_that_is_better_is_advised_at_its_chosen_values() -> None:
    advised = advice(EFFECTS)
    assert advised.technique == "l2"
    assert advised.values == make_tuned(["l2"])["techniques"]["l2"]["searches"][0]["values"]
    assert advised.text.startswith(
        "On Circles: use l2, at strength 0.00031 and learning rate 0.002. Test accuracy rises by 3."
    )
    assert "(corrected p < 0.001) with l2, over 10 replicates." in advised.text
    assert "It is shown to be the best of the techniques compared." in advised.text


def test_values_are_medians_over_the_searches_on_the_scale_of_their_range() -> None:
    advised = advice(EFFECTS, searches=3)
    assert advised.values["strength"] == pytest.approx(0.0031)
    words = "at strength 0.0031 (0.00031 to 0.031 over 3 searches) and learning rate 0.002."
    assert words in advised.text


@pytest.mark.parametrize(
    ("values", "log", "integer", "expected"),
    [
        ([1e-4, 1e-2], True, False, 1e-3),
        ([1e-4, 1e-2, 3e-1], True, False, 1e-2),
        ([1.0, 2.0], False, False, 1.5),
        ([2, 3], True, True, 2.0),
        ([3], False, True, 3.0),
    ],
)
def test_medians_by_hand(values: list[float], log: bool, integer: bool, expected: float) -> None:
    assert median(values, log, integer) == pytest.approx(expected, rel=1e-9)


def test_rivals_of_the_advised_one_are_named() -> None:
    advised = advice({"none": 0.0, "l2": 0.03, "l1_l2": 0.0301})
    rival = {"l2": "l1_l2", "l1_l2": "l2"}[str(advised.technique)]
    assert f"that it is better than {rival} is not shown." in advised.text
    assert "shown to be the best" not in advised.text


@pytest.mark.parametrize("noise", [0.001, 0.02])
def test_a_null_says_what_it_rules_out_and_never_to_use_none(noise: float) -> None:
    advised, finding = advice(NULL, noise=noise), find(NULL, noise=noise)
    assert advised.technique is None
    assert advised.values == {}
    bound = f"{100 * finding.ruled_out:.2f} points"
    told = sentences.headline(finding, "Circles")
    for text in (advised.text, told):
        assert f"Gains in test accuracy above {bound} are ruled out." in text
        assert "without regularization" not in text
    assert ("no evidence either way" in advised.text) == (noise == 0.02)
    assert ("would take about" in advised.text) == ("would take about" in told) == (noise == 0.02)


def test_worse_techniques_are_named() -> None:
    text = advice({"none": 0.0, "l2": -0.05, "l1": -0.05}).text
    assert text == (
        "On Circles: no technique is shown to help. Shown to be worse than none: l2 and l1."
    )


def test_a_loss_that_falls_is_an_answer_where_accuracy_is_not() -> None:
    losses = {"none": 0.0, "l2": -2.2, "dropout": 0.0, "l1": 0.5}
    effects = {"none": 0.0, "l2": 0.0, "dropout": 0.0, "l1": -0.05}
    advised = advice(effects, losses=losses)
    assert advised.technique == "l2"
    assert "Test loss falls by 2.2" in advised.text
    assert "Test accuracy is not shown to differ: " in advised.text
    told = sentences.headline(find(effects, losses=losses), "Circles")
    assert "no technique is shown to improve test accuracy" in told
    assert "Test loss falls by 2.2" in told


def test_headline_and_advice_name_the_same_technique() -> None:
    for effects in (EFFECTS, NULL, {"none": 0.0, "l2": 0.03, "l1_l2": 0.0301}):
        finding, technique = find(effects), advice(effects).technique
        assert technique == finding.champion
        assert technique is None or technique in sentences.headline(finding, "Circles")


def test_a_value_at_the_edge_is_told_of_the_advised_technique_only() -> None:
    warning = "The strength of l2 lies at the edge of its range (1e-5 to 0.1, log scale): a wider"
    assert warning in advice(EFFECTS, ("l2", "l1")).text
    assert advice(EFFECTS, ("l2",)).at_edge == ("strength",)
    assert "edge" not in advice(EFFECTS, ("l1",)).text


def test_a_choice_that_is_as_good_as_off_reads_no_regularization() -> None:
    tuned = make_tuned([*NULL], searches=2)
    for search in tuned["techniques"]["l1"]["searches"]:
        search["as_good_as_off"] = True
    assert chosen(tuned, "l1").off == "the search chose no regularization"
    assert chosen(tuned, "l2").off == ""
    text = advise(find(NULL), tuned, "On Circles").text
    assert text.endswith("For l1 the search chose no regularization.")
    tuned["techniques"]["l1"]["searches"][0]["as_good_as_off"] = False
    assert chosen(tuned, "l1").off == "in 1 of 2 searches the search chose no regularization"


def test_too_few_replicates_or_no_tuned_runs_give_no_advice() -> None:
    few, article = advice(EFFECTS, seeds=1), advice(EFFECTS, setting="article")
    assert few.text.startswith("On Circles: no advice, because a comparison needs at least two")
    assert article.text == "On Circles: no advice, because no technique was tuned."
    assert few.technique is article.technique is None


def test_more_labels_are_told_but_never_advised() -> None:
    effects = {"none": 0.0, "l2": 0.0, "train_and_validation": 0.08}
    finding = find(effects)
    advised = advise(finding, make_tuned(["none", "l2"]), "On Circles")
    assert advised.technique is finding.champion is finding.winner is None
    assert "train_and_validation" not in {
        name for group in finding.groups.values() for name in group
    }
    told = sentences.headline(finding, "Circles")
    assert "For reference, without a search of its own: train_and_validation +7.69 points" in told


def test_more_labels_correct_no_other_comparison() -> None:
    effects = {"none": 0.0, "l2": 0.03}
    alone, beside = (find(each) for each in (effects, effects | {"train_and_validation": 0.08}))
    columns = ("difference", "simultaneous_low", "simultaneous_high", "p_holm", "group")
    for before, after in zip(alone.compared, beside.compared, strict=True):
        assert [before[name] for name in columns] == [after[name] for name in columns]


def test_validation_picks_the_best_searches_and_the_lower_loss_among_equals() -> None:
    tuned = make_tuned(["none", "l1", "l2"])
    searches = {name: entry["searches"][0] for name, entry in tuned["techniques"].items()}
    searches["l1"]["val_loss"], searches["l2"]["val_loss"] = 0.3, None
    assert by_validation(tuned) == "l1"
    searches["l2"]["val_accuracy"] = 0.9
    assert by_validation(tuned) == "l2"
