"""A claim is judged as what was planted, in each of its cases, and tells what it rests on."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis import derived, margins
from pipeline.analysis.claims import CLAIMS, by_id
from pipeline.analysis.inference import COLUMN
from pipeline.analysis.judging import Verdict, beside, judge, verdicts
from pipeline.analysis.statements import FRESH, OWN_DATA, Case, Claim, Side, Statement
from pipeline.analysis.verdicts import MEASURES
from pipeline.config import loading

JUDGED = [claim for claim in CLAIMS if claim.statements]
CASES = [(claim, case) for claim in JUDGED for case in claim.cases]
PAIRS = 10
AS_STATED, OPPOSITE = 3, -3  # effects in smallest differences that matter


def plant(claim: Claim, effect: float, noise: float, pairs: int = PAIRS) -> pd.DataFrame:
    """Runs in which each statement's difference is `effect`, give or take `noise`.

    Both in smallest differences that matter, positive as stated: a statement that denies is true
    at -1. The noise has mean zero over an even number of pairs and leaves no difference without.
    """
    sides = dict.fromkeys(side for each in claim.statements for side in each.sides)
    level = {each.measure: 100.0 if each.relative else 0.0 for each in claim.statements}
    cells = {(side, seed): dict(level) for side in sides for seed in range(pairs)}
    for each in claim.statements:
        for seed in range(pairs):
            below = cells[each.second, seed][each.measure] if each.second else 0.0
            value = below + planted(each, effect, noise, (-1) ** seed)
            cells[each.first, seed][each.measure] = value
    return pd.DataFrame(row(side, seed) | values for (side, seed), values in cells.items())


def planted(each: Statement, effect: float, noise: float, sign: int) -> float:
    """A difference, in the measure's unit."""
    unit = each.margin.value * (100 if each.relative else 1)
    if each.of == "deviation":  # of about this size, in margins
        return sign * unit * (3 if effect < 0 else 0.2 if effect > noise or noise < 1 else 1)
    toward = (-1 if each.falls else 1) * (-1 if each.denies else 1)
    return toward * unit * (effect + noise * sign)


def row(side: Side, seed: int) -> dict[str, Any]:
    return {
        "task": "classification",
        "technique": side.technique,
        "setting": side.setting,
        "search": 0,
        "replicate": seed,
        "seed": seed,
        "overlap": 0.0,
        "same_test": False,
        "leaks": side.setting == "article",
        "diverged": False,
    }


def judged(claim: Claim, case: Case, frame: pd.DataFrame) -> Verdict:
    return judge(claim, {case.study: frame}, case)


def denies(claim: Claim) -> bool:
    return all(each.denies for each in claim.statements)


def equates(claim: Claim) -> bool:
    """Whether it denies a rise and a fall of each of its differences."""
    opposite = {"not higher": "not lower", "not lower": "not higher"}
    return all(
        replace(each, stated=opposite.get(each.stated, "none")) in claim.statements  # type: ignore[arg-type]
        for each in claim.statements
    )


over_cases = pytest.mark.parametrize(
    ("claim", "case"), CASES, ids=lambda value: getattr(value, "id", getattr(value, "setting", ""))
)
over_claims = pytest.mark.parametrize("claim", JUDGED, ids=lambda claim: claim.id)


@over_cases
def test_a_claim_holds_is_refuted_reversed_or_untold_as_planted(claim: Claim, case: Case) -> None:
    here = claim.at(case.setting)
    words = {
        (effect, noise): judged(claim, case, plant(here, effect, noise)).word
        for effect, noise in ((AS_STATED, 0.5), (OPPOSITE, 0.5), (0, 4), (0, 0.1), (0, 0))
    }
    absent = "holds" if denies(claim) else "does not hold"
    assert words == {
        (AS_STATED, 0.5): "does not hold" if equates(claim) else "holds",
        (OPPOSITE, 0.5): "does not hold" if equates(claim) else "reversed",
        (0, 4): "cannot tell",
        (0, 0.1): absent,
        (0, 0): absent,
    }


@over_claims
def test_the_verdict_tells_numbers_replicates_and_leak(claim: Claim) -> None:
    case = claim.cases[0]
    effect, noise = (0, 0.1) if equates(claim) else (AS_STATED, 0.5)
    frame = plant(claim, effect, noise).sample(frac=1, random_state=0)
    verdict = judged(claim, case, frame)
    assert verdict.n == PAIRS
    assert (
        verdict.leaks == (claim.setting == "article") == ("validation data leak" in verdict.notes)
    )
    assert verdict.deciding in verdict.evidence
    assert verdict.deciding.judgement.p == verdict.judgement.p < 0.05
    for evidence in verdict.evidence:
        statement, difference = evidence.statement, evidence.difference
        assert difference.low < difference.mean < difference.high
        of_levels = claim.id.startswith("C2")  # their second statement says the level
        if statement.of == "mean" and not of_levels:
            unit = statement.margin.value
            toward = planted(statement, effect, 0, 1) / (100 if statement.relative else 1)
            assert difference.mean == pytest.approx(toward, abs=1e-9 * unit)
            assert evidence.p_flips < 0.05


@over_claims
def test_a_null_tells_what_it_rules_out(claim: Claim) -> None:
    for evidence in judged(claim, claim.cases[0], plant(claim, 0, 0.1)).evidence:
        assert evidence.absent
        assert 0 <= evidence.ruled_out < evidence.statement.margin.value
    if not equates(claim):
        for evidence in judged(claim, claim.cases[0], plant(claim, AS_STATED, 0.5)).evidence:
            assert evidence.absent == evidence.statement.denies


@over_claims
def test_runs_that_diverged_are_told(claim: Claim) -> None:
    frame = plant(claim, AS_STATED, 0.5)
    verdict = judged(claim, claim.cases[0], frame.assign(diverged=frame["seed"] == 1))
    diverged = frame["technique"].nunique()
    several = f"{diverged} runs diverged and count with their"
    note = "1 run diverged and counts with its" if diverged == 1 else several
    note += " values before that"
    assert note in verdict.notes


@over_claims
def test_one_replicate_never_tells_and_says_so(claim: Claim) -> None:
    verdict = judged(claim, claim.cases[0], plant(claim, AS_STATED, 0.5, pairs=1))
    assert verdict.word == "cannot tell"
    assert verdict.notes[0] == "1 replicate only"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_without_runs_there_is_a_reason_and_no_number(claim: Claim) -> None:
    other = pd.DataFrame([row(Side("x"), 0)])
    for runs in ({}, dict.fromkeys(claim.studies, other)):
        for verdict in verdicts(claim, runs):
            assert verdict.word == ("does not hold" if claim.refuted_by else "not run")
            assert verdict.evidence == ()
            assert len(verdict.notes) >= 1
            assert all(verdict.notes)
        assert beside(claim, runs) == ()


def test_what_is_there_is_told_apart_from_what_is_beyond() -> None:
    claim = by_id("A2")
    there = plant(claim, AS_STATED, 0.5)
    beyond = plant(claim.at("article_fresh"), OPPOSITE, 0.5)
    found = verdicts(claim, {"circles": pd.concat([there, beyond])})
    assert [(each.case.question, each.word) for each in found] == [
        ("there", "holds"),
        ("beyond", "reversed"),
    ]


def test_what_ran_then_is_told_apart_from_what_runs_today() -> None:
    then, today = by_id("A2"), by_id("A2 today")
    frame = pd.concat(
        [plant(then, AS_STATED, 0.5), plant(today, 0, 0.1).query("technique != 'none'")]
    )
    assert [judge(claim, {"circles": frame}).word for claim in (then, today)] == [
        "holds",
        "does not hold",
    ]
    assert then.reading != today.reading
    for name in ("A2", "A3", "A4", "A4 after", "D4"):
        assert by_id(f"{name} today").statements != by_id(name).statements


def test_a_second_study_answers_what_lies_beyond_the_article() -> None:
    claim = by_id("B1")
    runs = {"mnist": plant(claim, AS_STATED, 0.5)}
    assert [(each.case.study, each.word) for each in verdicts(claim, runs)] == [
        ("mnist_article", "not run"),
        ("mnist", "holds"),
    ]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_questions_are_kept_apart(claim: Claim) -> None:
    first, *others = claim.cases
    assert [case.question for case in others] in ([], ["beyond"])
    assert not others or first.question == "there"
    for case in (*claim.cases, *claim.other_cases):
        article = case.setting == "article" and case.study in OWN_DATA
        assert (case.question == "there") == article
        assert (case.question == "use") == (case.setting == "tuned")
        assert case.setting != "article_fresh" or case.study in FRESH
        assert case.study in claim.studies


def test_the_tuned_setting_and_other_data_sets_stand_beside_the_verdicts() -> None:
    claim = by_id("A3")
    article, tuned = plant(claim, AS_STATED, 0.5), plant(claim.at("tuned"), OPPOSITE, 0.5)
    runs = {"circles": pd.concat([article, tuned]), "digits": plant(claim, 0, 4)}
    told = [(each.case.study, each.case.setting, each.word) for each in beside(claim, runs)]
    assert told == [("digits", "article", "cannot tell"), ("circles", "tuned", "reversed")]


def test_a_missing_technique_is_named() -> None:
    claim = by_id("C1")
    frame = plant(claim, AS_STATED, 0.5)
    without = frame[frame["technique"] != "mixed_penalties"]
    verdict = judge(claim, {"fashion_article": without})
    assert verdict.notes == ("no article runs of mixed_penalties on fashion_article",)


def test_runs_of_different_pairs_are_not_compared() -> None:
    claim = by_id("B1")
    frame = plant(claim, AS_STATED, 0.5)
    frame.loc[frame["technique"] == "l2", ["replicate", "seed"]] += 7
    assert judge(claim, {"mnist_article": frame}).n == 3
    frame.loc[frame["technique"] == "l2", ["replicate", "seed"]] += 7
    verdict = judge(claim, {"mnist_article": frame})
    assert (verdict.word, verdict.notes) == (
        "not run",
        ("the runs to compare on mnist_article have no pair in common",),
    )


def test_runs_that_lack_a_measure_say_so() -> None:
    claim = by_id("D1")
    frame = plant(claim, AS_STATED, 0.5).drop(columns="informative_recall")
    verdict = judge(claim, {"features": frame})
    assert verdict.word == "not run"
    assert verdict.notes == ("the runs on features have no informative recall",)


def test_the_squared_error_of_an_autoencoder_is_judged_and_its_accuracy_is_not() -> None:
    frame = plant(by_id("D7"), AS_STATED, 0.5).assign(task="reconstruction")
    assert judge(by_id("D7"), {"digits_autoencoder": frame}).word == "holds"
    of_classes = replace(by_id("B1"), studies=("digits_autoencoder",))
    (note,) = judge(of_classes, {"digits_autoencoder": frame}).notes
    assert note.startswith("the models of digits_autoencoder reproduce their inputs")


def test_a_value_that_is_not_finite_is_not_skipped() -> None:
    claim = by_id("D3")
    frame = plant(claim, AS_STATED, 0.5)
    frame.loc[2, "noise_drop"] = np.nan
    verdict = judge(claim, {"features": frame})
    assert verdict.word == "cannot tell"
    assert "not finite" in verdict.notes[0]


def test_one_wrong_statement_refutes_a_claim() -> None:
    claim = by_id("A2")
    lowered, not_raised = plant(claim, AS_STATED, 0.5), plant(claim, OPPOSITE, 0.5)
    mixed = lowered.assign(test_accuracy=not_raised["test_accuracy"])
    assert judge(claim, {"circles": mixed}).word == "does not hold"
    unclear = lowered.assign(test_accuracy=plant(claim, 0, 4)["test_accuracy"])
    assert judge(claim, {"circles": unclear}).word == "cannot tell"


def test_overlapping_splits_tell_less_than_fresh_draws() -> None:
    claim = by_id("B1")
    frame = plant(claim, AS_STATED, 2.5)
    fresh, again = (
        judge(claim, {"mnist_article": frame.assign(overlap=overlap)}).evidence[0]
        for overlap in (0.0, 0.3)
    )
    assert (fresh.word, again.word) == ("holds", "cannot tell")
    assert np.isnan(again.p_flips)  # splits are not independent


def test_what_cannot_be_told_says_how_many_replicates_would_do() -> None:
    claim = by_id("B1")
    evidence = judge(claim, {"mnist_article": plant(claim, 0, 4)}).evidence[0]
    assert evidence.needed is not None
    assert evidence.needed > PAIRS
    assert judge(claim, {"mnist_article": plant(claim, AS_STATED, 0.5)}).evidence[0].needed is None
    assert np.isnan(judge(claim, {"mnist_article": plant(claim, 0, 4, 8)}).evidence[0].p_flips)


def test_a_curve_has_the_means_of_every_technique() -> None:
    claim = by_id("B7")
    frame = plant(claim, AS_STATED, 0.0)
    assert judge(claim, {"mnist_article": frame}).curves == {}  # the runs have two of its measures
    frame = frame.assign(**{name: 0.5 for name in claim.curve if name not in frame})
    curves = judge(claim, {"mnist_article": frame}).curves
    assert curves.keys() == {"l1", "none"}
    means = dict(zip(claim.curve, curves["l1"], strict=True))
    of_l1 = frame[frame["technique"] == "l1"]
    for name, mean in means.items():
        assert mean.mean == pytest.approx(of_l1[name].mean())


# What claims are made of


def test_ids_are_unique_and_every_measure_is_a_column() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert sum(map(bool, (claim.statements, claim.refuted_by, claim.needs))) == 1, claim.id
        assert all(each.measure in MEASURES for each in claim.statements)
        assert {*claim.curve} <= MEASURES.keys()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_is_explained_to_who_has_not_read_the_article(claim: Claim) -> None:
    sentences = claim.explained.count(". ") + claim.explained.endswith(".")
    assert 2 <= sentences <= 3
    assert claim.sentence.endswith((".", ")."))
    assert claim.reading.endswith(".")


def test_every_statement_names_a_margin() -> None:
    for claim in CLAIMS:
        assert {each.matters for each in claim.statements} <= margins.committed().keys(), claim.id


@pytest.fixture(scope="module")
def planned() -> dict[str, pd.DataFrame]:
    """Runs of every technique that params.yaml plans, in its settings, with every measure."""
    return {name: pd.DataFrame(_planned(name)) for name in loading.load().studies}


def _planned(study: str) -> Iterable[dict[str, Any]]:
    measures = dict.fromkeys((*MEASURES, COLUMN), 0.5)
    for name, technique in loading.load().study(study).techniques.items():
        settings = ["article", *(["article_fresh"] if study in FRESH else [])]
        settings = settings if technique.article is not None else []
        for setting in settings + (["tuned"] if technique.tuned else []):
            yield from (row(Side(name, setting), seed) | measures for seed in range(3))  # type: ignore[arg-type]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_side_that_params_do_not_plan_is_a_reason_and_a_planned_claim_is_judged(
    claim: Claim, planned: dict[str, pd.DataFrame]
) -> None:
    for case in claim.cases:
        verdict = judge(claim, planned, case)
        if case.study not in planned:
            assert case.study == derived.SHUFFLING
            continue
        frame = planned[case.study]
        here = {*frame[frame["setting"] == case.setting]["technique"]}
        absent = [name for name in claim.techniques if name not in here]
        assert bool(verdict.evidence) == (bool(claim.statements) and not absent)
        for name in absent:
            where = f"no {case.setting} runs of {name} on {case.study}"
            assert any(note.startswith(where) for note in verdict.notes)


def test_what_no_run_trains_says_what_it_is_made_of(planned: dict[str, pd.DataFrame]) -> None:
    told = {name: judge(by_id(name), planned).notes for name in ("A8", "D1 linear", "K1")}
    assert told["A8"][0] == (
        "no tuned runs of ensemble on mnist, which need tuned runs of l1, l2 and l1_l2"
    )
    assert all("informative inputs" in note for note in told["D1 linear"])
    assert told["K1"] == ("no runs of shuffling, which need benchmarks/shuffling.csv",)
