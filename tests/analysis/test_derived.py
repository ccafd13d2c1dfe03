"""Rows that claims compare though no run trained them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import datasets
from pipeline.analysis import derived, linear
from pipeline.analysis.claims import by_id
from pipeline.analysis.judging import judge
from pipeline.datasets import circles, features
from pipeline.datasets.circles import CirclesData
from pipeline.datasets.features import FeaturesData
from pipeline.errors import UserError
from tests.synthetic import EPOCHS, make_curves, make_predictions, make_runs, write_results

EFFECTS = {"none": 0.0, "l1": 0.0, "l2": 0.0, "l1_l2": 0.0}


def test_an_ensemble_is_better_than_members_that_err_on_other_examples(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS)
    folder = write_results(tmp_path / "mnist", runs)
    frame = derived.joined(runs, folder, tmp_path / "absent.npz")
    found = frame[frame["technique"] == derived.ENSEMBLE].set_index("seed")
    assert len(found) == 10
    assert found["val_loss"].isna().all()  # it has only what was computed
    assert judge(by_id("A8"), {"mnist": frame}).word == "holds"
    outputs = make_predictions(runs)
    labels = outputs["tuned.0/labels"]
    members = [outputs[f"tuned.0/tuned-{name}-3"] for name in ("l1", "l2", "l1_l2")]
    hits = (np.mean(members, axis=0, dtype=float)[:, 0] > 0.5) == labels
    assert found.loc[3, "test_accuracy"] == pytest.approx(hits.mean())


def test_without_one_of_its_members_there_is_no_ensemble(tmp_path: Path) -> None:
    runs = make_runs({"none": 0.0, "l1": 0.0, "l2": 0.0})
    folder = write_results(tmp_path / "circles", runs)
    pd.testing.assert_frame_equal(derived.joined(runs, folder, tmp_path / "absent.npz"), runs)


def test_the_mean_over_masks_is_compared_with_no_masks_on_the_same_examples(
    tmp_path: Path,
) -> None:
    runs = make_runs({"none": 0.0, "dropout": 0.0}, setting="article", dataset="digits")
    of_dropout = runs["technique"] == "dropout"
    runs.loc[of_dropout, "noise_0_accuracy"] = runs["test_accuracy"] + 0.3  # of a sample of them
    runs.loc[of_dropout, "unsampled_loss"] = 0.4
    runs.loc[of_dropout, "sampled_loss"] = 0.5
    runs.loc[of_dropout, "sampled_accuracy"] = runs["noise_0_accuracy"]
    frame = derived.joined(runs, tmp_path, tmp_path / "absent.npz")
    assert frame["technique"].value_counts()[derived.SAMPLED] == 10
    claim = by_id("B10")
    case = next(each for each in claim.other_cases if each.study == "digits")
    verdict = judge(claim, {"digits": frame}, case)
    assert [each.word for each in verdict.evidence] == ["holds", "holds", "reversed", "holds"]
    assert verdict.word == "does not hold"
    assert verdict.evidence[2].difference.mean == pytest.approx(0.25)


def test_without_dropout_there_are_no_masks(tmp_path: Path) -> None:
    runs = make_runs({"none": 0.0, "dropout_l2": 0.0}).assign(sampled_loss=0.5)
    pd.testing.assert_frame_equal(derived.joined(runs, tmp_path, tmp_path / "absent.npz"), runs)


def test_the_fixed_number_of_epochs_is_chosen_on_other_replicates() -> None:
    runs = make_runs({"dropout": 0.0}, seeds=3, setting="article", dataset="digits")
    curves = pd.DataFrame(
        {
            "key": np.repeat(runs["key"].to_numpy(), 3),
            "epoch": [1, 2, 3] * 3,
            "val_accuracy": [0.1, 0.2, 0.9, 0.1, 0.8, 0.3, 0.1, 0.7, 0.4],
        }
    )
    found = derived.fixed_epochs(runs, curves)
    # By the other two, epoch 2 is best for the first, and epoch 3 for the others.
    assert found["epochs_run"].tolist() == [2, 3, 3]
    assert found["val_accuracy"].tolist() == [0.2, 0.3, 0.4]
    assert set(found["technique"]) == {derived.FIXED_EPOCHS}


def test_early_stopping_is_compared_with_the_best_fixed_number_of_epochs(tmp_path: Path) -> None:
    effects = {"none": 0.0, "dropout": 0.0, "dropout_early_stopping": 0.0}
    runs = make_runs(effects, setting="article", dataset="digits", noise=0.0)
    folder = write_results(tmp_path / "digits", runs)
    curves = make_curves(runs)
    longer = curves["key"].isin(runs.loc[runs["technique"] != "dropout", "key"])
    curves.loc[longer, "epoch"] += EPOCHS  # as of a technique that trains twice
    curves.to_parquet(folder / "curves.parquet", index=False)
    frame = derived.joined(runs, folder, tmp_path / "absent.npz")
    fixed = frame[frame["technique"] == derived.FIXED_EPOCHS]
    assert (fixed["epochs_run"] == EPOCHS).all()  # its curves rise to the end
    claim = by_id("B5")
    case = next(each for each in claim.other_cases if each.study == "digits")
    assert judge(claim, {"digits": frame}, case).word == "holds"


def test_early_stopping_is_compared_with_longer_runs_where_there_are_some(tmp_path: Path) -> None:
    names = ("dropout", "dropout_early_stopping", "dropout_longer", "dropout_early_stopping_longer")
    effects = dict.fromkeys(("none", *names), 0.0)
    runs = make_runs(effects, seeds=3, setting="article", dataset="mnist_article")
    longer = runs["technique"].str.endswith("_longer")
    runs.loc[longer, "epochs_run"] = 3 * EPOCHS
    runs.loc[longer, "val_accuracy"] = 0.99
    folder = write_results(tmp_path / "mnist_article", runs)
    frame = derived.joined(runs, folder, tmp_path / "absent.npz")
    fixed, stopped = (
        frame[frame["technique"] == name] for name in (derived.FIXED_EPOCHS, derived.STOPPED)
    )
    assert (fixed["epochs_run"] == 3 * EPOCHS).all()
    np.testing.assert_allclose(fixed["val_accuracy"], 0.99)
    np.testing.assert_allclose(stopped["val_accuracy"], 0.99)


def test_a_second_fit_is_compared_with_one_fit_of_as_many_epochs(tmp_path: Path) -> None:
    again = "dropout_early_stopping_again"
    effects = dict.fromkeys(("none", "none_longer", "dropout_longer", again), 0.0)
    runs = make_runs(effects, seeds=3, setting="article", dataset="mnist_article")
    runs.loc[runs["technique"].str.endswith("_longer"), "epochs_run"] = 30
    runs.loc[runs["technique"] == again, "epochs_run"] = [12, 15, 31]
    folder = write_results(tmp_path / "mnist_article", runs)
    frame = derived.joined(runs, folder, tmp_path / "absent.npz")
    curves = make_curves(runs).astype({"key": str}).set_index(["key", "epoch"])["val_accuracy"]
    for name, source in {
        "none_as_long": "none_longer",
        "dropout_as_long": "dropout_longer",
    }.items():
        found = frame[frame["technique"] == name].set_index("seed")
        assert found["epochs_run"].to_dict() == {0: 12, 1: 15}  # none was trained 31 epochs
        for seed, epochs in ((0, 12), (1, 15)):
            expected = curves[f"article-{source}-{seed}", epochs]
            assert found.loc[seed, "val_accuracy"] == pytest.approx(expected)
    second = frame[frame["technique"] == derived.SECOND_FIT]
    assert second["epochs_run"].tolist() == [12, 15, 31]
    assert judge(by_id("B5 as long"), {"mnist_article": frame}).n == 2


def test_l1_drops_noise_inputs_of_a_linear_model_and_no_penalty_drops_none(tmp_path: Path) -> None:
    data = features.prepare(
        "features", FeaturesData(input="", train=120, validation=120, draws=5), 1
    )
    path = tmp_path / "features.npz"
    datasets.save(data, path)
    runs = make_runs({"none": 0.0, "l1": 0.0}, setting="article", dataset="features")
    runs["informative_recall"] = 0.5
    frame = derived.joined(runs, tmp_path, path)
    means = frame.groupby("technique")["noise_inputs_dropped"].mean()
    assert means[linear.PLAIN] == 0
    assert means[linear.L1] > 0.3
    verdict = judge(by_id("D1 linear"), {"features": frame})
    assert verdict.evidence[0].word == "holds"
    assert verdict.n == 5


def test_without_known_inputs_nothing_can_be_dropped() -> None:
    data = circles.prepare("circles", CirclesData(input="", draws=2, test=100), 1)
    with pytest.raises(ValueError, match="informative inputs of circles must be known"):
        linear.fitted(data)


def test_measured_orders_judge_the_claim_about_them(tmp_path: Path) -> None:
    path = tmp_path / "shuffling.csv"
    assert derived.orders(path) is None
    rng = np.random.default_rng(0)
    means = {"seeded": 0.875, "unseeded": 0.889, "engine": 0.889}
    rows = [
        (kind, run, mean + 0.001 * rng.standard_normal())
        for kind, mean in means.items()
        for run in range(10)
    ]
    pd.DataFrame(rows, columns=["kind", "run", "test_accuracy"]).to_csv(path, index=False)
    frame = derived.orders(path)
    assert frame is not None
    assert judge(by_id("K1"), {derived.SHUFFLING: frame}).word == "holds"


@pytest.mark.parametrize(
    ("table", "told"),
    [("kind,run\nseeded,0\n", "columns"), ("kind,run,test_accuracy\nx,0,1\n", "'x'")],
)
def test_a_wrong_table_of_orders_is_told(table: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "shuffling.csv"
    path.write_text(table, encoding="utf-8")
    with pytest.raises(UserError, match=told):
        derived.orders(path)
