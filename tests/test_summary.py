"""From final runs to a table: numbers, pairs, errors, and what may be said."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline import formatting, results
from pipeline.analysis import families, summary
from pipeline.analysis.margins import read_margins
from pipeline.analysis.outliers import outliers
from pipeline.analysis.summary import Finding
from pipeline.errors import UserError

from .synthetic import make_runs

EFFECTS = {"none": 0.0, "l2": 0.03, "dropout": 0.0, "l1": -0.05}
LOSSES = {"none": 0.0, "l2": -0.1, "dropout": -0.2, "l1": 0.1}
NULL = dict.fromkeys(("none", "l2", "dropout", "l1"), 0.0)
SECONDARY = ("test_loss", "noise_accuracy")
DESIGNS: dict[str, dict[str, Any]] = {
    "draws": {},
    "crossed": {"searches": 3},
    "nested": {"seeds": 30, "per_replicate": 3, "overlap": 0.3},
}


def row(
    table: pd.DataFrame, technique: str, outcome: str = "test_accuracy", setting: str = "tuned"
) -> "pd.Series[Any]":
    chosen = table[
        (table["technique"] == technique)
        & (table["outcome"] == outcome)
        & (table["setting"] == setting)
    ]
    return chosen.iloc[0].rename(technique)


def find(*arguments: Any, outcomes: tuple[str, ...] = (), **options: Any) -> Finding:
    return summary.find(summary.summarize(make_runs(*arguments, **options), outcomes))


def write(runs: pd.DataFrame, tmp_path: Path) -> Path:
    """The folder of a study that has these runs."""
    path = tmp_path / "circles" / "runs.csv"
    path.parent.mkdir()
    runs.to_csv(path, index=False)
    return path.parent


def test_a_row_holds_the_mean_of_its_runs_and_students_interval() -> None:
    runs = make_runs(EFFECTS)
    l2 = row(summary.summarize(runs), "l2")
    accuracy = runs[runs["technique"] == "l2"]["test_accuracy"]
    expected = stats.ttest_1samp(accuracy, 0.0).confidence_interval()
    assert l2["mean"] == pytest.approx(accuracy.mean())
    assert (l2["mean_low"], l2["mean_high"]) == pytest.approx(tuple(expected))
    assert (l2["n"], l2["searches"], l2["runs"]) == (10, 1, 10)


def test_every_measure_has_a_row_and_only_named_ones_are_compared() -> None:
    table = summary.summarize(make_runs(EFFECTS), SECONDARY)
    roles = table.drop_duplicates("outcome").set_index("outcome")["role"]
    assert roles[roles == "primary"].index.tolist() == ["test_accuracy"]
    assert roles[roles == "secondary"].index.tolist() == [*SECONDARY]
    assert roles[["epochs_run", "gap", "train_accuracy", "seconds"]].eq("described").all()
    described = table[table["role"] == "described"]
    assert described[["difference", "p", "p_simultaneous", "margin", "needed"]].isna().all().all()
    assert (described["group"] == "").all()
    assert not table.duplicated(["setting", "technique", "outcome"]).any()


def test_differences_are_paired_whatever_the_order_of_runs() -> None:
    runs = make_runs(EFFECTS)
    table = summary.summarize(runs)
    by_seed = runs.pivot(index="seed", columns="technique", values="test_accuracy")
    difference = by_seed["l2"] - by_seed["none"]
    l2, expected = row(table, "l2"), stats.ttest_1samp(difference, 0.0)
    assert l2["difference"] == pytest.approx(difference.mean())
    assert l2["p"] == pytest.approx(expected.pvalue)
    ends = l2["difference_low"], l2["difference_high"]
    assert ends == pytest.approx(tuple(expected.confidence_interval()))
    assert l2["improvement"] == (difference > 0).mean()
    shuffled = summary.summarize(runs.sample(frac=1, random_state=1))
    for technique in EFFECTS:
        pd.testing.assert_series_equal(row(shuffled, technique), row(table, technique))


def crossed_error(d: np.ndarray) -> float:
    """The error of the mean of searches by draws, from the two-way analysis of variance."""
    rows, columns = d.mean(axis=1), d.mean(axis=0)
    between = [rows.size * columns.var(ddof=1), columns.size * rows.var(ddof=1)]
    rest = ((d - rows[:, None] - columns + d.mean()) ** 2).sum()
    rest /= (rows.size - 1) * (columns.size - 1)
    square = max(between) if rest >= min(between) else sum(between) - rest
    return float(np.sqrt(square / d.size))


@pytest.mark.parametrize("design", DESIGNS)
def test_each_design_has_the_error_of_its_source_of_variance(design: str) -> None:
    runs = make_runs(EFFECTS, **DESIGNS[design])
    keys = ["search", "replicate", "seed"]
    of = {name: own.set_index(keys)["test_accuracy"] for name, own in runs.groupby("technique")}
    d = of["l2"] - of["none"]
    by_replicate = d.groupby("replicate").mean()
    n, s = len(by_replicate), by_replicate.std()
    if design == "crossed":
        expected = crossed_error(d.droplevel("seed").unstack("replicate").to_numpy())
    else:
        expected = s * np.sqrt(1 / n + DESIGNS[design].get("overlap", 0.0))
    found = row(summary.summarize(runs), "l2")
    assert found["error"] == pytest.approx(expected)
    assert found["n"] == n
    assert found["searches"] == {"draws": 1, "crossed": 3, "nested": 10}[design]
    assert np.isfinite(found["seeds_low"]) == (design == "nested")
    assert np.isfinite(found["p_flips"]) == (design == "draws")


def test_seeds_alone_give_a_narrower_interval_than_all_that_varied() -> None:
    table = summary.summarize(make_runs(EFFECTS, **DESIGNS["nested"]))
    for technique in ("l2", "dropout", "l1"):
        found = row(table, technique)
        assert found["simultaneous_low"] < found["seeds_low"] < found["difference"]
        assert found["difference"] < found["seeds_high"] < found["simultaneous_high"]


@pytest.mark.parametrize("design", DESIGNS)
def test_interval_and_p_never_contradict_each_other(design: str) -> None:
    effects_ = {f"t{i}": effect for i, effect in enumerate(np.linspace(-0.02, 0.02, 12))}
    runs = make_runs({"none": 0.0, **effects_}, **DESIGNS[design])
    table = summary.summarize(runs, SECONDARY)
    compared = table[table["p"].notna()].to_dict("records")
    assert {each["group"] for each in compared} >= {"better", "worse", "unresolved"}
    for each in compared:
        outside = not each["simultaneous_low"] <= 0 <= each["simultaneous_high"]
        assert outside == (each["p_simultaneous"] < 0.05) == summary.told_apart(each)
        assert each["p_holm"] <= each["p_simultaneous"] + 1e-12
        words = summary.corrected_p(each)
        assert ("Holm" in words) == (each["p_holm"] < 0.05 and not outside)
        first = words.split(" (")[0].lstrip("< ")
        assert (words.startswith("<") or float(first) < 0.05) == outside


def test_p_values_are_corrected_over_the_techniques_of_one_setting() -> None:
    runs = pd.concat([make_runs(EFFECTS), make_runs(NULL, setting="article")])
    table = summary.summarize(runs)
    for _, rows in table[table["role"] == "primary"].groupby("setting"):
        expected = families.holm(rows["p"])
        assert rows["p_holm"].to_numpy() == pytest.approx(expected, nan_ok=True)
        assert rows["p_simultaneous"].max() == min(1.0, 3 * rows["p"].max())


def test_all_secondary_outcomes_are_one_family() -> None:
    table = summary.summarize(make_runs(EFFECTS, losses=LOSSES), SECONDARY)
    rows = table[(table["role"] == "secondary") & (table["technique"] != "none")]
    assert len(rows) == 6
    assert rows["p_simultaneous"].to_numpy() == pytest.approx(np.minimum(6 * rows["p"], 1.0))
    alone = row(summary.summarize(make_runs(EFFECTS, losses=LOSSES)), "l2")
    pd.testing.assert_series_equal(row(table, "l2"), alone)  # the score's family is its own


def test_a_lower_loss_is_better() -> None:
    table = summary.summarize(make_runs(EFFECTS, losses=LOSSES), ("test_loss",))
    groups = {name: row(table, name, "test_loss")["group"] for name in ("l2", "dropout", "l1")}
    assert groups == {"l2": "better", "dropout": "better", "l1": "worse"}
    assert row(table, "l2", "test_loss")["improvement"] == 1


def test_the_margin_of_a_loss_is_a_share_of_the_baselines() -> None:
    table = summary.summarize(make_runs(EFFECTS, losses=LOSSES), ("test_loss",))
    share = read_margins()["test_loss"].value
    baseline = row(table, "none", "test_loss")["mean"]
    assert row(table, "l2", "test_loss")["margin"] == pytest.approx(share * baseline)
    assert row(table, "l2")["margin"] == read_margins()["test_accuracy"].value


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("test_los", "unknown outcome 'test_los'; did you mean 'test_loss'"), ("gap", "neither more")],
)
def test_an_outcome_that_cannot_be_compared_is_refused(outcome: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        summary.summarize(make_runs(EFFECTS), (outcome,))


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
    columns = ["difference", "difference_low", "p", "p_holm", "p_simultaneous", "improvement"]
    assert none[columns].isna().all()
    assert none["group"] == ""


def test_a_technique_that_is_left_out_changes_no_uncorrected_number_of_another() -> None:
    table = summary.summarize(make_runs(EFFECTS))
    fewer = summary.summarize(make_runs({"none": 0.0, "l1": -0.05}))
    corrected = ("p_holm", "p_simultaneous", "simultaneous_low", "simultaneous_high", "needed")
    same = [name for name in table.columns if name not in corrected]
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
    assert told == ["l1: 3 of 10 runs diverged; they count with their values before that"]
    assert "l1: 2 of 10 runs predict the same for every example" in summary.table(table)


@pytest.mark.parametrize("technique", EFFECTS)
@pytest.mark.parametrize("spike", [-0.5, 0.5])
def test_a_run_far_from_the_others_is_told(technique: str, spike: float) -> None:
    runs = make_runs(EFFECTS)
    runs.loc[(runs["technique"] == technique) & (runs["seed"] == 4), "test_accuracy"] += spike
    table = summary.summarize(runs, SECONDARY)
    counts = table[table["role"] == "primary"].set_index("technique")["outliers"]
    assert counts.to_dict() == {name: int(name == technique) for name in EFFECTS}
    own = runs[runs["technique"] == technique]["test_accuracy"].to_numpy()
    middle = np.median(own)
    far = own[np.argmax(np.abs(own - middle))]
    told = f"{100 * far:.2f} %, median {100 * middle:.2f} %"
    flag = f"{technique}: 1 of 10 runs ends far from the others: {told}"
    assert flag in summary.table(table).splitlines()


@pytest.mark.parametrize(("n", "most"), [(5, 0.12), (10, 0.03), (30, 0.01)])
@pytest.mark.parametrize("ratio", [0.1, 1, 10])
def test_chance_alone_is_seldom_far(n: int, most: float, ratio: float) -> None:
    rng = np.random.default_rng(0)
    spread = {"none": 0.02, "l1": 0.02 * ratio, "l2": 0.02}
    flagged = 0
    for _ in range(300):
        values = {name: pd.Series(rng.normal(0.8, sd, n)) for name, sd in spread.items()}
        flagged += any(each.outliers for each in outliers(values, least=0.005).values())
    assert flagged / 300 <= most


def test_few_runs_equal_values_and_what_is_not_finite_are_no_outliers() -> None:
    few = {"none": [0.8, 0.8, 0.2], "l1": [0.8, 0.8, 0.8, 0.8, 0.8049], "l2": [np.nan] * 5}
    found = outliers({name: pd.Series(values) for name, values in few.items()}, least=0.005)
    assert [each.outliers for each in found.values()] == [0, 0, 0]
    far = outliers({"none": pd.Series([0.8, 0.8, 0.8, np.inf, 0.2])}, least=0.005)["none"]
    assert (far.outliers, far.farthest, far.median) == (1, 0.2, 0.8)


def test_a_technique_of_which_most_runs_diverged_has_no_rank() -> None:
    runs = make_runs(EFFECTS | {"dropout": 0.2}, losses=None)
    runs.loc[(runs["technique"] == "dropout") & (runs["seed"] < 6), "diverged"] = True
    table = summary.summarize(runs, ["noise_accuracy"])
    finding = summary.find(table)
    assert "dropout" not in [name for names in finding.groups.values() for name in names]
    assert {row["technique"] for row in finding.secondary} == {"l1", "l2"}
    line = next(line for line in summary.table(table).splitlines() if line.startswith("dropout  "))
    assert "no rank" in line
    assert "+" not in line
    assert "dropout: 6 of 10 runs diverged; no rank" in summary.table(table)
    # Others are compared as if it were not there.
    others = {name: effect for name, effect in EFFECTS.items() if name != "dropout"}
    alone = summary.summarize(make_runs(others), ["noise_accuracy"])
    pd.testing.assert_series_equal(row(table, "l1"), row(alone, "l1"))


def test_nothing_has_a_rank_beside_a_baseline_that_diverged() -> None:
    runs = make_runs(EFFECTS)
    runs["diverged"] = runs["technique"] == "none"
    finding = summary.find(summary.summarize(runs))
    assert finding.compared == ()
    assert finding.champion is None


def test_a_loss_that_is_not_finite_leaves_no_mean_and_is_not_counted_in_its_family() -> None:
    runs = make_runs(EFFECTS, losses=LOSSES)
    runs.loc[runs["key"] == "tuned-l1-0", "test_loss"] = np.nan
    table = summary.summarize(runs, ("test_loss",))
    l1, l2 = row(table, "l1", "test_loss"), row(table, "l2", "test_loss")
    assert l1[["mean", "difference", "p", "simultaneous_low"]].isna().all()
    assert l1["group"] == "unresolved"
    assert l2["p_simultaneous"] == pytest.approx(2 * l2["p"])


def test_an_accuracy_that_is_unknown_is_never_better() -> None:
    runs = make_runs(EFFECTS)
    runs.loc[runs["key"] == "tuned-l2-0", "test_accuracy"] = np.nan
    finding = summary.find(summary.summarize(runs))
    assert "l2" in finding.of_group("unresolved")
    assert finding.champion is None
    assert np.isnan(finding.ruled_out)


def test_differences_are_of_the_pairs_that_both_have() -> None:
    runs = make_runs(EFFECTS, searches=3)
    table = summary.summarize(runs[(runs["technique"] != "l2") | (runs["search"] == 0)])
    l2 = row(table, "l2")
    assert (l2["n"], l2["searches"], l2["runs"]) == (10, 1, 10)
    first = summary.summarize(runs[runs["search"] == 0])
    assert l2["difference"] == pytest.approx(row(first, "l2")["difference"])


def test_a_technique_without_a_common_pair_is_refused() -> None:
    runs = make_runs(EFFECTS)
    runs.loc[runs["technique"] == "l2", "search"] = 1
    with pytest.raises(UserError, match="l2 must have a run with the search, replicate and seed"):
        summary.summarize(runs)


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
    table = summary.summarize(make_runs(EFFECTS, **DESIGNS["nested"]), SECONDARY)
    results.write_summary(table, tmp_path)
    again = results.read_summary(tmp_path)
    pd.testing.assert_frame_equal(again, table, rtol=1e-9, check_dtype=False)
    assert summary.find(again).groups == summary.find(table).groups


@pytest.mark.parametrize("design", DESIGNS)
def test_planted_differences_are_found(design: str) -> None:
    finding = find(EFFECTS, **DESIGNS[design])
    assert (finding.study, finding.setting, finding.n) == ("circles", "tuned", 10)
    assert finding.better == ("l2",)
    assert finding.worse == ("l1",)
    assert finding.champion == finding.winner == "l2"
    assert finding.conclusive


def test_no_difference_is_found_where_there_is_none() -> None:
    finding = find(NULL, noise=0.001)
    assert finding.better == finding.worse == ()
    assert finding.champion is finding.winner is None
    assert set(finding.of_group("no difference")) == {"l2", "dropout", "l1"}
    assert 0 < finding.ruled_out < finding.margin
    assert np.isnan(finding.needed)  # nothing is unresolved


def test_an_unresolved_difference_says_what_it_would_take() -> None:
    finding = find(NULL, noise=0.02)
    assert finding.of_group("unresolved")
    assert 10 < finding.needed < 10_000
    assert np.isinf(find(NULL, noise=0.02, overlap=0.3).needed)  # splits share their rows


def test_techniques_keep_the_order_of_the_runs_whatever_their_means() -> None:
    names = ["none", "a", "b", "c", "d"]
    for seed in range(5):
        sizes = np.random.default_rng(seed).normal(0, 0.02, len(names))
        finding = find(dict(zip(names, sizes, strict=True)), outcomes=("test_loss",))
        assert [row["technique"] for row in finding.primary] == names
        for group in finding.groups.values():
            assert list(group) == sorted(group)
        assert sorted(sum(finding.groups.values(), ())) == names[1:]


def test_every_technique_stands_in_one_group() -> None:
    finding = find(EFFECTS)
    assert tuple(finding.groups) == summary.GROUPS
    assert sorted(sum(finding.groups.values(), ())) == ["dropout", "l1", "l2"]


def test_a_winner_is_named_only_if_it_is_shown() -> None:
    close = find({"none": 0.0, "l2": 0.03, "l1_l2": 0.0301})
    assert close.better == ("l2", "l1_l2")
    assert close.winner is None
    apart = find({"none": 0.0, "l2": 0.03, "l1_l2": 0.09})
    assert apart.winner == apart.champion == "l1_l2"


def test_paired_differences_show_a_winner_whose_interval_overlaps_with_others() -> None:
    runs = make_runs({"none": 0.0, "l2": 0.03, "l1_l2": 0.039})
    unlike = np.random.default_rng(0).normal(0, 0.02, 10)  # of the baseline alone
    baseline = runs["technique"] == "none"
    runs.loc[baseline, "test_accuracy"] += unlike[runs[baseline]["seed"]]
    finding = summary.find(summary.summarize(runs))
    l2, l1_l2 = (summary.gain(row) for row in finding.compared)
    assert l1_l2.low < l2.high
    assert finding.winner == "l1_l2"


def test_of_equal_techniques_seldom_one_is_called_the_best() -> None:
    rng, named = np.random.default_rng(1), 0
    runs = make_runs({"none": 0.0} | dict.fromkeys(("l1", "l2", "dropout", "l0"), 0.05))
    base = runs["test_accuracy"] - 0.05 * (runs["technique"] != "none")
    for _ in range(100):
        gains = rng.normal(0.05, 0.01, len(runs)) * (runs["technique"] != "none")
        drawn = runs.assign(test_accuracy=base + gains)
        named += summary.find(summary.summarize(drawn)).winner is not None
    assert named <= 10  # of 5 expected at most


def test_of_several_better_ones_validation_names_the_champion() -> None:
    runs = make_runs({"none": 0.0, "l2": 0.03, "l1_l2": 0.0301})
    for name in ("l2", "l1_l2"):
        ahead = runs.assign(val_accuracy=np.where(runs["technique"] == name, 0.9, 0.8))
        assert summary.find(summary.summarize(ahead)).champion == name


def test_a_gain_in_a_secondary_outcome_is_a_finding() -> None:
    losses = {"none": 0.0, "l2": -0.2, "dropout": -0.2, "l1": 0.1}
    effects_ = {**NULL, "dropout": -0.05}
    finding = find(effects_, losses=losses, outcomes=("test_loss",))
    assert finding.better == ()
    assert [row["technique"] for row in finding.side_gains["test_loss"]] == ["l2", "dropout"]
    assert finding.harmless == ("l2",)  # dropout loses accuracy
    assert finding.champion == "l2"


def test_only_tuned_values_make_a_champion() -> None:
    finding = find(EFFECTS, setting="article")
    assert finding.better == ("l2",)
    assert finding.champion is None


def test_unequal_epochs_are_told() -> None:
    finding = find(NULL | {"early_stopping": 0.0})
    assert finding.unequal_epochs == ("early_stopping",)
    table = summary.table(summary.summarize(make_runs(NULL | {"early_stopping": 0.0})))
    assert "early_stopping trained 6 epochs, none 12" in table


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


def test_one_replicate_gives_means_and_no_more() -> None:
    table = summary.summarize(make_runs(EFFECTS, seeds=1))
    assert table["mean"].notna().all()
    assert table["mean_low"].isna().all()
    assert not summary.find(table).conclusive


def test_table_is_aligned_and_holds_every_technique_and_its_numbers() -> None:
    table = summary.summarize(make_runs(EFFECTS), SECONDARY)
    score, side = summary.table(table).split("\n\n")
    title, head, rule, *lines = score.splitlines()
    assert title.startswith("circles, tuned setting")
    assert len(rule) == max(map(len, [head, *lines]))
    assert [line.split()[0] for line in lines] == list(EFFECTS)
    column = head.index("test accuracy")
    for line in lines:
        name = line.split()[0]
        assert line[column:].startswith(f"{100 * row(table, name)['mean']:.2f} [")
    for name in ("l2", "dropout", "l1"):
        (line,) = (line for line in side.splitlines() if line.startswith(name))
        assert summary.difference_text(row(table, name, "noise_accuracy").to_dict()) in line
        assert summary.difference_text(row(table, name, "test_loss").to_dict()) in line


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
