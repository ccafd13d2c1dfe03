"""The verdict between two techniques: its numbers, its words, and how often it errs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.__main__ import main
from pipeline.analysis import comparison, summary
from pipeline.analysis.comparison import compare
from pipeline.analysis.telling import count
from pipeline.errors import UserError

from .synthetic import make_runs

EFFECTS = {"none": 0.0, "l2": 0.03, "dropout": 0.0, "l1": -0.05}


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return make_runs(EFFECTS)


def study(rng: np.random.Generator, effect: float, replicates: int = 10) -> pd.DataFrame:
    """Runs of two techniques on common draws; `effect` in standard deviations of a run."""
    shape = (2, replicates)
    accuracy = 0.8 + 0.02 * rng.standard_normal(replicates) + 0.01 * rng.standard_normal(shape)
    accuracy[0] += 0.01 * effect
    return pd.DataFrame(
        {
            "study": "circles",
            "task": "classification",
            "setting": "tuned",
            "leaks": False,
            "technique": np.repeat(["one", "other"], replicates),
            "search": 0,
            "replicate": np.tile(np.arange(replicates), 2),
            "seed": np.tile(np.arange(replicates), 2),
            "overlap": 0.0,
            "same_test": False,
            "test_accuracy": accuracy.ravel(),
        }
    )


def winners(effect: float, studies: int) -> list[str]:
    """How each simulated study's verdict begins."""
    random = np.random.default_rng(5)
    verdicts = (
        comparison.verdict(compare(study(random, effect), "one", "other")) for _ in range(studies)
    )
    return [verdict.split(":")[0] for verdict in verdicts]


@pytest.mark.slow
def test_identical_techniques_are_called_different_in_at_most_7_percent_of_studies() -> None:
    found = winners(effect=0, studies=200)
    assert np.mean(["better" in words for words in found]) <= 0.07


@pytest.mark.slow
def test_a_difference_of_two_standard_deviations_is_found_in_95_percent_of_studies() -> None:
    found = winners(effect=2, studies=200)
    assert found.count("one is better than other") / 200 >= 0.95


@pytest.mark.parametrize("design", [{}, {"searches": 3}, {"seeds": 20, "per_replicate": 2}])
def test_against_the_baseline_the_numbers_are_those_of_the_summary(design: dict[str, int]) -> None:
    runs = make_runs(EFFECTS, **design)  # type: ignore[arg-type]
    table = summary.summarize(runs)
    rows = table[table["role"] == "primary"].set_index("technique")
    for technique in ("l2", "dropout", "l1"):
        found, row = compare(runs, technique, "none"), rows.loc[technique]
        for estimate, name in ((found.difference, "difference"), (found.means[0], "mean")):
            assert estimate == tuple(row[[name, f"{name}_low", f"{name}_high"]])
        assert (found.p, found.improvement, found.n) == (row["p"], row["improvement"], row["n"])
        assert found.p_flips == pytest.approx(row["p_flips"], nan_ok=True)
        assert found.margin == row["margin"]


def test_exchanging_the_techniques_mirrors_the_comparison(runs: pd.DataFrame) -> None:
    forth, back = compare(runs, "l2", "l1"), compare(runs, "l1", "l2")
    assert forth.difference == pytest.approx(
        (-back.difference.mean, -back.difference.high, -back.difference.low)
    )
    assert forth.means == back.means[::-1]
    assert comparison.verdict(forth) == comparison.verdict(back)


def test_runs_are_paired_whatever_their_order(runs: pd.DataFrame) -> None:
    shuffled = runs.sample(frac=1, random_state=2)
    assert compare(shuffled, "l2", "dropout") == compare(runs, "l2", "dropout")


def test_the_verdict_names_the_better_one_and_by_how_much(runs: pd.DataFrame) -> None:
    found = compare(runs, "l1", "l2")
    mean, low, high = (f"{-100 * x:.2f}" for x in (found.difference.mean, *found.difference[:0:-1]))
    assert comparison.verdict(found) == (
        f"l2 is better than l1: its test accuracy is higher by {mean} points [{low}, {high}]."
    )


def test_a_lower_loss_is_better_and_of_a_neutral_measure_neither_is(runs: pd.DataFrame) -> None:
    random = np.random.default_rng(0)
    varied = runs.assign(
        test_loss=np.where(runs["technique"] == "l2", 0.2, 0.5) + 0.01 * random.random(len(runs)),
        zero_weights=np.where(runs["technique"] == "l1", 0.9, 0.1)
        + 0.01 * random.random(len(runs)),
    )
    loss = compare(varied, "l2", "l1", measure="test_loss")
    assert comparison.verdict(loss).startswith("l2 is better than l1: its test loss is lower by 0.")
    assert loss.improvement == 1
    zeros = compare(varied, "l2", "l1", measure="zero_weights")
    assert comparison.verdict(zeros).startswith("l1 is higher than l2 in zero weights, by 8")


def test_what_cannot_be_told_says_what_is_ruled_out_and_what_it_would_take() -> None:
    found = compare(make_runs(EFFECTS, noise=0.02), "dropout", "none")
    low, high = (f"{abs(100 * end):.2f} points" for end in found.difference[1:])
    assert comparison.verdict(found) == (
        "Cannot tell: the difference could be due to chance. Ruled out: that dropout is better by"
        f" more than {high}, and that none is better by more than {low}. A difference of"
        f" 0.50 points would take about {count(float(found.needed or 0))} replicates to show."
    )


def test_of_losses_the_sides_of_what_is_ruled_out_are_turned(runs: pd.DataFrame) -> None:
    losses = runs.assign(test_loss=runs["test_accuracy"])
    score, loss = (compare(losses, "dropout", "none", measure=m) for m in (None, "test_loss"))
    assert score.difference == loss.difference
    ends = [f"{abs(end):.3g}" for end in loss.difference[1:]]
    assert f"that dropout is better by more than {ends[0]}, and that none" in comparison.verdict(
        loss
    )


def test_a_difference_too_small_to_matter_is_no_difference() -> None:
    words = comparison.verdict(compare(make_runs(EFFECTS, noise=0.001), "dropout", "none"))
    assert words.startswith("No difference of 0.50 points or more. Ruled out: that dropout")


@pytest.mark.parametrize("noise", [0.001, 0.004, 0.02])
def test_verdict_interval_and_p_agree(noise: float) -> None:
    runs = make_runs({"none": 0.0, "l1": 0.002, "l2": 0.006, "l3": -0.004}, noise=noise)
    for technique in ("l1", "l2", "l3"):
        found = compare(runs, technique, "none")
        outside = not found.difference.low <= 0 <= found.difference.high
        assert found.significant == outside == ("is better than" in comparison.verdict(found))


def test_equal_runs_cannot_be_told_apart(runs: pd.DataFrame) -> None:
    found = compare(runs, "l2", "none", measure="epochs_run")
    assert comparison.verdict(found) == "Cannot tell: l2 and none are equal in every pair."


def test_too_few_replicates_are_told() -> None:
    assert "better" in comparison.verdict(compare(make_runs(EFFECTS, seeds=3), "l2", "none"))
    with pytest.raises(UserError, match=r"needs at least 2 replicates, but l2 and none .* in 1;"):
        compare(make_runs(EFFECTS, seeds=1), "l2", "none")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"first": "dropuot"},
            r"'dropuot' has no runs in the tuned .*; did you mean 'dropout'\? .* l2, dr",
        ),
        ({"first": "none"}, "expected two different techniques, but got 'none' twice"),
        ({"setting": "tund"}, r"unknown setting 'tund'; did you mean 'tuned'\? expected one of"),
        ({"measure": "test_acuracy"}, r"'test_acuracy'; did you mean 'test_accuracy'\?.*gap"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest_and_the_list(
    arguments: dict[str, str], words: str, runs: pd.DataFrame
) -> None:
    with pytest.raises(UserError, match=words):
        compare(runs, **({"first": "l2", "second": "none"} | arguments))  # type: ignore[arg-type]


def test_common_pairs_are_compared_and_values_that_diverged_are_named(runs: pd.DataFrame) -> None:
    fewer = compare(runs[runs["key"] != "tuned-l2-9"], "l2", "none")
    assert fewer == compare(runs[runs["seed"] != 9], "l2", "none")
    broken = runs.assign(test_loss=runs["test_loss"].where(runs["key"] != "tuned-l2-3"))
    of_dropout = runs.assign(sampled_loss=np.where(runs["technique"] == "l2", 0.3, np.nan))
    with pytest.raises(UserError, match="none has no sampled_loss"):
        comparison.compare(of_dropout, "l2", "none", measure="sampled_loss")
    with pytest.raises(UserError, match="test_loss of l2 is not finite on seed 3"):
        compare(broken, "none", "l2", measure="test_loss")


def test_every_accuracy_and_loss_can_be_compared(runs: pd.DataFrame) -> None:
    known = comparison.measures(runs.assign(noise_accuracy=0.5))
    assert {"noise_accuracy", "val_loss", "gap", "seconds"} <= set(known)
    assert not {"seed", "key", "leaks"} & set(known)


def test_a_gap_of_losses_is_no_share(runs: pd.DataFrame) -> None:
    losses = runs.assign(task="reconstruction")
    assert comparison.measures(runs)["gap"].share
    assert not comparison.measures(losses)["gap"].share


def test_the_command_prints_numbers_and_verdict(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runs: pd.DataFrame,
) -> None:
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", "l2", "none", "--study", "circles"]
    assert main(arguments) == 2
    assert "runs.csv is missing; run `python -m pipeline train circles`" in capsys.readouterr().err
    Path("results/circles").mkdir(parents=True)
    runs.to_csv("results/circles/runs.csv", index=False)
    assert main(arguments) == 0
    assert capsys.readouterr().out == comparison.text(compare(runs, "l2", "none")) + "\n"
    assert main([*arguments[:2], "nine", *arguments[3:]]) == 2
    assert "did you mean 'none'?" in capsys.readouterr().err


def test_comparing_needs_neither_tensorflow_nor_mlflow() -> None:
    code = (
        "import sys, pipeline.stages.compare;"
        "print({'tensorflow', 'keras', 'mlflow', 'optuna', 'matplotlib'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
