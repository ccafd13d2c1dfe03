"""From final runs to a table: numbers, pairs, errors, and what may be said."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import formatting, results
from pipeline.analysis import families, statistics, summary
from pipeline.errors import UserError

from .synthetic import make_runs

EFFECTS = {"none": 0.0, "l2": 0.03, "dropout": 0.0, "l1": -0.05}
NULL = dict.fromkeys(("none", "l2", "dropout", "l1"), 0.0)


def row(table: pd.DataFrame, technique: str) -> "pd.Series[Any]":
    return table[table["technique"] == technique].iloc[0].rename(technique)


def write(runs: pd.DataFrame, tmp_path: Path) -> Path:
    """The folder of a study that has these runs."""
    path = tmp_path / "circles" / "runs.csv"
    path.parent.mkdir()
    runs.to_csv(path, index=False)
    return path.parent


def test_a_row_holds_the_means_of_its_runs_and_their_intervals() -> None:
    runs = make_runs(EFFECTS)
    l2 = row(summary.summarize(runs), "l2")
    accuracy = runs[runs["technique"] == "l2"]["test_accuracy"]
    assert l2["test_accuracy"] == pytest.approx(accuracy.mean())
    interval = statistics.mean_interval(accuracy, np.random.default_rng(0))
    assert (l2["test_accuracy_low"], l2["test_accuracy_high"]) == pytest.approx(interval[1:])
    assert (l2["n"], l2["epochs_run"], l2["zero_weights"], l2["seconds"]) == (10, 12, 0.25, 2)


def test_differences_are_paired_by_seed_whatever_the_order_of_runs() -> None:
    runs = make_runs(EFFECTS)
    table = summary.summarize(runs)
    by_seed = runs.pivot(index="seed", columns="technique", values="test_accuracy")
    difference = by_seed["l2"] - by_seed["none"]
    assert row(table, "l2")["difference"] == pytest.approx(difference.mean())
    assert row(table, "l2")["improvement"] == (difference > 0).mean()
    shuffled = summary.summarize(runs.sample(frac=1, random_state=1))
    for technique in EFFECTS:
        pd.testing.assert_series_equal(row(shuffled, technique), row(table, technique))


def test_p_values_are_corrected_over_the_techniques_of_one_setting() -> None:
    runs = pd.concat([make_runs(EFFECTS), make_runs(NULL, setting="article")])
    table = summary.summarize(runs)
    for _, rows in table.groupby("setting"):
        expected = families.holm(rows["p"])
        assert rows["p_holm"].to_numpy() == pytest.approx(expected, nan_ok=True)


def failing(runs: pd.DataFrame, lost: "pd.Series[bool]") -> pd.DataFrame:
    """The runs, of which the lost ones have no measures."""
    given = ["key", "study", "task", "technique", "setting", "leaks", "seed"]
    measures = [name for name in runs if name not in given]
    emptied = {str(name): runs[name].astype(object).mask(lost) for name in measures}
    return runs.assign(**emptied, failed=lost.map({True: "worker died", False: ""}))


def test_seeds_on_which_a_run_failed_are_left_out_and_pairs_stay(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS)
    lost = (runs["technique"] == "l2") & (runs["seed"] == 3)
    found = results.read_runs(write(failing(runs, lost), tmp_path))
    pd.testing.assert_frame_equal(
        summary.summarize(found), summary.summarize(runs[runs["seed"] != 3])
    )


def test_a_technique_that_failed_on_every_seed_is_left_out_alone(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS)
    lost = runs["technique"] == "l2"
    found = results.read_runs(write(failing(runs, lost), tmp_path))
    pd.testing.assert_frame_equal(summary.summarize(found), summary.summarize(runs[~lost]))


def test_failed_runs_that_leave_no_seed_are_told(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS, seeds=2)
    lost = runs["technique"].isin(["l2", "l1"]) & (
        runs["seed"] == np.where(runs["technique"] == "l2", 0, 1)
    )
    with pytest.raises(UserError, match=r"every seed has a failed run \(worker died\)"):
        results.read_runs(write(failing(runs, lost), tmp_path))


def test_the_baseline_is_not_compared_with_itself() -> None:
    none = row(summary.summarize(make_runs(EFFECTS)), "none")
    columns = ["difference", "difference_low", "difference_high", "p", "p_holm", "improvement"]
    assert none[columns].isna().all()


def test_a_technique_that_is_left_out_changes_no_other_interval_or_p() -> None:
    table = summary.summarize(make_runs(EFFECTS))
    fewer = summary.summarize(make_runs({"none": 0.0, "l1": -0.05}))
    same = [name for name in table.columns if name not in ("p_holm", "p_best")]
    pd.testing.assert_series_equal(row(fewer, "l1")[same], row(table, "l1")[same])


def test_diverged_and_collapsed_runs_are_counted_and_leaks_are_told() -> None:
    runs = make_runs(EFFECTS, leaks=True)
    runs.loc[(runs["technique"] == "l1") & (runs["seed"] < 3), "diverged"] = True
    runs.loc[(runs["technique"] == "l1") & (runs["seed"] < 2), "collapsed"] = True
    table = summary.summarize(runs)
    assert (row(table, "l1")["diverged"], row(table, "l1")["collapsed"]) == (3, 2)
    assert row(table, "l2")["diverged"] == 0
    assert table["leaks"].all()
    told = [line for line in summary.table(table).splitlines() if "diverged" in line]
    assert told == ["3 of 10 runs of l1 diverged; they count with their values before that"]


def test_a_loss_that_is_not_finite_leaves_no_mean_loss() -> None:
    runs = make_runs(EFFECTS)
    runs.loc[runs["key"] == "tuned-l1-0", "test_loss"] = np.nan
    table = summary.summarize(runs)
    assert np.isnan(row(table, "l1")["test_loss"])
    assert row(table, "l2")["test_loss"] == 0.5


def test_an_accuracy_that_is_unknown_is_never_the_best() -> None:
    runs = make_runs(EFFECTS)
    runs.loc[runs["key"] == "tuned-l2-0", "test_accuracy"] = np.nan
    finding = summary.find(summary.summarize(runs))
    assert finding.best["technique"] != "l2"
    assert "l2" not in finding.candidates + finding.better


@pytest.mark.parametrize(
    ("technique", "words"), [("l2", "l2 has no seed 3, 7"), ("none", "l2, has no seed 3, 7")]
)
def test_missing_pairs_are_named(technique: str, words: str) -> None:
    runs = make_runs(EFFECTS)
    gone = (runs["technique"] == technique) & runs["seed"].isin([3, 7])
    with pytest.raises(UserError, match=words):
        summary.summarize(runs[~gone])


def test_a_setting_without_baseline_is_refused() -> None:
    runs = make_runs({"l1": 0.0, "l2": 0.0})
    with pytest.raises(UserError, match=r"'tuned' has no runs of the baseline 'none'.*l1, l2"):
        summary.summarize(runs)


def test_a_missing_file_is_answered_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"runs\.csv is missing; run `python -m pipeline train circles"
    ):
        results.read_runs(tmp_path / "circles")
    with pytest.raises(UserError, match="is missing; run `python -m pipeline report circles`"):
        results.read_summary(tmp_path / "circles")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = write(make_runs(EFFECTS).drop(columns=["gap", "seed"]), tmp_path)
    with pytest.raises(UserError, match=r"lacks the columns seed, gap.*pipeline train circles"):
        results.read_runs(path)


def test_a_file_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"runs\.csv has no rows; run `python -m pipeline train circles` again"
    ):
        results.read_runs(write(make_runs(EFFECTS).head(0), tmp_path))


def test_two_runs_on_one_seed_are_refused(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS)
    path = write(pd.concat([runs, runs.tail(1)]), tmp_path)
    with pytest.raises(UserError, match=r"'l1' \(tuned\) has more than one on seed 9"):
        results.read_runs(path)


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = summary.summarize(make_runs(EFFECTS))
    results.write_summary(table, tmp_path)
    again = results.read_summary(tmp_path)
    pd.testing.assert_frame_equal(again, table, rtol=1e-9, check_dtype=False)


def test_planted_differences_are_found() -> None:
    finding = summary.find(summary.summarize(make_runs(EFFECTS)))
    assert (finding.study, finding.setting, finding.n, finding.techniques) == (
        "circles",
        "tuned",
        10,
        4,
    )
    assert finding.best["technique"] == "l2"
    assert finding.candidates == finding.better == ("l2",)
    assert finding.worse == ("l1",)
    assert finding.unclear == ("dropout",)


def test_no_difference_is_found_where_there_is_none() -> None:
    finding = summary.find(summary.summarize(make_runs(NULL)))
    assert finding.better == finding.worse == ()
    assert set(finding.unclear) == {"l2", "dropout", "l1"}
    assert set(finding.candidates) == set(NULL)


@pytest.mark.parametrize(("seeds", "conclusive"), [(6, False), (7, True)])
def test_a_study_with_too_few_seeds_is_inconclusive(seeds: int, conclusive: bool) -> None:
    finding = summary.find(summary.summarize(make_runs(EFFECTS, seeds=seeds)))
    assert finding.conclusive == conclusive
    assert bool(finding.better) == conclusive


def test_the_tuned_setting_is_told_first() -> None:
    runs = pd.concat([make_runs(NULL, setting="article"), make_runs(EFFECTS)])
    table = summary.summarize(runs)
    assert summary.ordered_settings(table) == ["tuned", "article"]
    assert summary.find(table).setting == "tuned"


def test_a_setting_with_the_baseline_alone_is_no_finding() -> None:
    alone = make_runs({"none": 0.0})
    runs = pd.concat([alone, make_runs({"none": 0.0, "l2": 0.02}, setting="article")])
    found = summary.find(summary.summarize(runs))
    assert (found.setting, found.better) == ("article", ("l2",))
    assert not summary.find(summary.summarize(alone)).conclusive


def test_ranks_are_means_over_the_data_sets_of_what_they_share() -> None:
    findings = {
        name: summary.find(summary.summarize(make_runs(effects, dataset=name)))
        for name, effects in (
            ("circles", {"none": 0.0, "l2": 0.1, "l1": -0.1, "dropout": 0.2}),
            ("digits", {"none": 0.0, "l2": -0.1, "l1": -0.2}),
        )
    }
    ranks = summary.rank(findings)
    assert ranks is not None
    assert ranks.table.to_dict("index") == {
        "none": {"circles": 2, "digits": 1, "mean": 1.5},
        "l2": {"circles": 1, "digits": 2, "mean": 1.5},
        "l1": {"circles": 3, "digits": 3, "mean": 3},
    }
    assert ranks.difference == pytest.approx(statistics.critical_difference(3, 2))
    assert summary.rank({"circles": findings["circles"]}) is None


def test_one_seed_gives_means_and_no_more() -> None:
    table = summary.summarize(make_runs(EFFECTS, seeds=1))
    assert table["test_accuracy"].notna().all()
    assert table["test_accuracy_low"].isna().all()
    assert not summary.find(table).conclusive


def test_table_is_aligned_and_holds_every_technique_and_its_numbers() -> None:
    table = summary.summarize(make_runs(EFFECTS))
    title, head, rule, *lines = summary.table(table).splitlines()
    assert title.startswith("circles, tuned setting")
    assert len(rule) == max(map(len, [head, *lines]))
    assert [line.split()[0] for line in lines] == list(summary.ranked(table, "tuned")["technique"])
    column = head.index("test accuracy")
    for line in lines:
        name = line.split()[0]
        assert line[column:].startswith(f"{100 * row(table, name)['test_accuracy']:.2f} [")


def test_table_tells_that_a_setting_leaks() -> None:
    assert "validation data leak" in summary.table(summary.summarize(make_runs(NULL, leaks=True)))
    assert "leak" not in summary.table(summary.summarize(make_runs(NULL)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0310, "+3.10"),
        (-0.0025, "\N{MINUS SIGN}0.25"),
        (0.00001, "0.00"),
        (-0.00001, "0.00"),
        (np.nan, "\N{EN DASH}"),
    ],
)
def test_points_are_signed_unless_zero(value: float, text: str) -> None:
    assert formatting.points(value) == text


@given(st.integers(-100_000, 100_000), st.floats(-1e-15, 1e-15))
def test_what_a_file_keeps_of_a_share_reads_as_the_share(
    hundred_thousandths: int, off: float
) -> None:
    """In hundred thousandths, as means over ten seeds of 10,000 images are."""
    share = hundred_thousandths / 100_000 + off
    kept = float(f"{share:.10g}")
    assert formatting.points(kept) == formatting.points(share)
    assert formatting.percent(kept) == formatting.percent(share)


@pytest.mark.parametrize(
    ("p", "text"), [(0.0009, "< 0.001"), (0.0156, "0.016"), (1.0, "1.000"), (np.nan, "\N{EN DASH}")]
)
def test_p_is_never_written_as_zero(p: float, text: str) -> None:
    assert formatting.p_text(p) == text
