"""A claim is judged as what was planted, and tells what it rests on."""

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis import margins
from pipeline.analysis.claims import CLAIMS, Claim
from pipeline.analysis.judging import beside, judge
from pipeline.analysis.verdicts import MEASURES
from pipeline.config import loading

JUDGED = [claim for claim in CLAIMS if claim.statements]
PAIRS = 10


def plant(claim: Claim, effect: float, noise: float, pairs: int = PAIRS) -> pd.DataFrame:
    """Runs in which each statement's difference is `effect`, give or take `noise`.

    Both in smallest differences that matter, positive as stated: a statement that denies is true
    at -1. The noise has mean zero over an even number of pairs and leaves no difference without.
    """
    sides = dict.fromkeys(side for each in claim.statements for side in each.sides)
    level = {each.measure: 100.0 if each.relative else 0.0 for each in claim.statements}
    cells = {(side, seed): dict(level) for side in sides for seed in range(pairs)}
    for each in claim.statements:
        unit = each.margin.value * (level[each.measure] if each.relative else 1)
        toward = (-1 if each.stated.endswith("lower") else 1) * unit
        if each.stated.startswith("not"):
            toward = -toward
        for seed in range(pairs):
            size = effect + noise * (-1) ** seed
            below = cells[each.second, seed][each.measure] if each.second else 0.0
            cells[each.first, seed][each.measure] = below + toward * size
    return pd.DataFrame(
        {
            "task": "classification",
            "technique": side.technique,
            "setting": side.setting,
            "search": 0,
            "replicate": seed,
            "seed": seed,
            "overlap": 0.0,
            "leaks": side.setting == "article",
            "diverged": False,
            **values,
        }
        for (side, seed), values in cells.items()
    )


def by_id(name: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.id == name)


def word(claim: Claim, frame: pd.DataFrame) -> str:
    return judge(claim, {claim.studies[0]: frame}).word


over_claims = pytest.mark.parametrize("claim", JUDGED, ids=lambda claim: claim.id)


@over_claims
def test_a_planted_effect_holds(claim: Claim) -> None:
    assert word(claim, plant(claim, 3, 0.5)) == "holds"


@over_claims
def test_the_opposite_is_reversed(claim: Claim) -> None:
    assert word(claim, plant(claim, -3, 0.5)) == "reversed"


@over_claims
def test_no_effect_under_much_noise_cannot_be_told(claim: Claim) -> None:
    assert word(claim, plant(claim, 0, 4)) == "cannot tell"


@over_claims
def test_no_effect_shown_precisely_refutes_an_effect_and_confirms_its_absence(
    claim: Claim,
) -> None:
    denies = all(each.denies for each in claim.statements)
    assert word(claim, plant(claim, 0, 0.1)) == ("holds" if denies else "does not hold")


@over_claims
def test_equal_runs_are_no_effect(claim: Claim) -> None:
    denies = all(each.denies for each in claim.statements)
    assert word(claim, plant(claim, 0, 0)) == ("holds" if denies else "does not hold")


@over_claims
def test_the_verdict_tells_numbers_replicates_and_leak(claim: Claim) -> None:
    frame = plant(claim, 3, 0.5)
    verdict = judge(claim, {claim.studies[0]: frame.sample(frac=1, random_state=0)})
    assert verdict.n == PAIRS
    assert (
        verdict.leaks == (claim.setting == "article") == ("validation data leak" in verdict.notes)
    )
    assert verdict.deciding in verdict.evidence
    assert verdict.deciding.judgement.p == verdict.judgement.p < 0.05
    for evidence in verdict.evidence:
        statement, difference = evidence.statement, evidence.difference
        stated = 3 * statement.margin.value * (-1 if statement.falls else 1)
        stated *= -1 if statement.denies else 1
        of_levels = claim.id.startswith("C2")  # their second statement says the level
        if statement.second is not None and not of_levels:
            assert difference.mean == pytest.approx(stated)
        assert difference.low < difference.mean < difference.high
        assert evidence.judgement.p < 0.05
        assert evidence.p_flips < 0.05


@over_claims
def test_a_null_tells_what_it_rules_out(claim: Claim) -> None:
    for evidence in judge(claim, {claim.studies[0]: plant(claim, 0, 0.1)}).evidence:
        assert evidence.absent
        assert 0 <= evidence.ruled_out < evidence.statement.margin.value
    for evidence in judge(claim, {claim.studies[0]: plant(claim, 3, 0.5)}).evidence:
        assert evidence.absent == evidence.statement.denies


@over_claims
def test_runs_that_diverged_are_told(claim: Claim) -> None:
    frame = plant(claim, 3, 0.5)
    verdict = judge(claim, {claim.studies[0]: frame.assign(diverged=frame["seed"] == 1)})
    diverged = frame["technique"].nunique()
    note = f"{diverged} runs diverged and count with their values before that"
    assert note in verdict.notes


@over_claims
def test_one_replicate_never_tells_and_says_so(claim: Claim) -> None:
    verdict = judge(claim, {claim.studies[0]: plant(claim, 3, 0.5, 1)})
    assert verdict.word == "cannot tell"
    assert verdict.notes[0] == "1 replicate only"


def test_what_cannot_be_told_says_how_many_replicates_would_do() -> None:
    claim = by_id("B1")
    evidence = judge(claim, {"mnist": plant(claim, 0, 4)}).evidence[0]
    assert evidence.needed is not None
    assert evidence.needed.expected is not None
    assert evidence.needed.expected > PAIRS
    assert np.isnan(judge(claim, {"mnist": plant(claim, 0, 4, 8)}).evidence[0].p_flips)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_without_runs_there_is_a_reason_and_no_number(claim: Claim) -> None:
    other = pd.DataFrame(
        {"task": ["classification"], "technique": ["x"], "setting": ["article"], "seed": [0]}
    )
    for runs in ({}, dict.fromkeys(claim.studies, other)):
        verdict = judge(claim, runs)
        assert verdict.word == ("does not hold" if claim.refuted_by else "not run")
        assert verdict.evidence == ()
        assert len(verdict.notes) >= 1
        assert all(verdict.notes)
        assert beside(claim, runs) == ()


def test_a_missing_technique_is_named() -> None:
    claim = by_id("C1")
    frame = plant(claim, 3, 0.5)
    without = frame[frame["technique"] != "mixed_penalties"]
    verdict = judge(claim, {"fashion_mnist": without})
    assert verdict.notes == ("no article runs of mixed_penalties on fashion_mnist",)


def test_runs_of_different_pairs_are_not_compared() -> None:
    claim = by_id("B1")
    frame = plant(claim, 3, 0.5)
    frame.loc[frame["technique"] == "l2", ["replicate", "seed"]] += 7
    assert judge(claim, {"mnist": frame}).n == 3
    frame.loc[frame["technique"] == "l2", ["replicate", "seed"]] += 7
    assert judge(claim, {"mnist": frame}).word == "not run"


def test_runs_that_lack_a_measure_say_so() -> None:
    claim = by_id("D1")
    verdict = judge(claim, {"features": plant(claim, 3, 0.5).drop(columns="informative_recall")})
    assert verdict.word == "not run"
    assert verdict.notes == ("the runs on features have no informative recall",)


def test_a_value_that_is_not_finite_is_not_skipped() -> None:
    claim = by_id("D3")
    frame = plant(claim, 3, 0.5)
    frame.loc[2, "noise_accuracy"] = np.nan
    verdict = judge(claim, {"mnist": frame})
    assert verdict.word == "cannot tell"
    assert "not finite" in verdict.notes[0]


def test_the_tuned_setting_and_other_data_sets_stand_beside_the_verdict() -> None:
    claim = by_id("B1")
    article, tuned = plant(claim, 3, 0.5), plant(claim.at("tuned"), -3, 0.5)
    runs = {"mnist": pd.concat([article, tuned]), "digits": plant(claim, 0, 4)}
    assert judge(claim, runs).word == "holds"
    told = [(each.study, each.claim.setting, each.word) for each in beside(claim, runs)]
    assert told == [("mnist", "tuned", "reversed"), ("digits", "article", "cannot tell")]


def test_one_wrong_statement_refutes_a_claim() -> None:
    claim = by_id("A2")
    lowered, not_raised = plant(claim, 3, 0.5), plant(claim, -3, 0.5)
    mixed = lowered.assign(test_accuracy=not_raised["test_accuracy"])
    assert word(claim, mixed) == "does not hold"
    unclear = lowered.assign(test_accuracy=plant(claim, 0, 4)["test_accuracy"])
    assert word(claim, unclear) == "cannot tell"


def test_ids_are_unique_and_every_measure_is_a_column() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert bool(claim.statements) != bool(claim.refuted_by)
        assert all(each.measure in MEASURES for each in claim.statements)


def test_every_side_of_a_claim_is_trained_by_a_study_that_exists() -> None:
    for claim in JUDGED:
        techniques = loading.load().study(claim.studies[0]).techniques
        for side in {side for each in claim.statements for side in each.sides}:
            known = techniques.get(side.technique)
            assert known is not None, f"{claim.id}: {side}"
            assert side.setting != "article" or known.article is not None, f"{claim.id}: {side}"


def test_every_statement_names_a_margin() -> None:
    for claim in CLAIMS:
        assert {each.matters for each in claim.statements} <= margins.committed().keys(), claim.id
