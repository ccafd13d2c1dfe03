"""Ensembles are means of probabilities, of runs on the same rows, fixed beforehand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline import results
from pipeline.analysis import ensembles
from pipeline.analysis.ensembles import (
    COLUMNS,
    PENALTIES,
    SEEDS,
    Predictions,
    accuracy,
    log_loss,
    mean,
)
from pipeline.config.sections import Training
from pipeline.datasets import Dataset
from pipeline.errors import UserError
from pipeline.models.architectures import Mlp
from pipeline.training.runs import Run

from .synthetic import make_predictions, make_runs

EFFECTS = {"none": 0.0, "l2": 0.03, "l1": -0.05, "l1_l2": 0.01}
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(3, size=50)


def softmax(members: int) -> np.ndarray:
    """Probabilities (members, 50, 3) float32."""
    powers = np.exp(RANDOM.normal(scale=3, size=(members, 50, 3)))
    probabilities: np.ndarray = powers / powers.sum(axis=2, keepdims=True)
    return probabilities.astype(np.float32)


def predictions(runs: pd.DataFrame, draws: bool = False) -> Predictions:
    """Of synthetic runs; `draws`: each seed has a sample of its own."""
    found = Predictions({}, {}, {})
    arrays = make_predictions(runs)
    for run in runs.to_dict("records"):
        key, setting = run["key"], run["setting"]
        sample = f"{setting}.{run['seed'] if draws else 0}"
        found.samples[key], found.labels[sample] = sample, arrays[f"{setting}.0/labels"]
        found.probabilities[key] = arrays[f"{setting}.0/{key}"]
    return found


def test_an_ensemble_of_one_model_repeated_is_that_model() -> None:
    (member,) = softmax(1)
    np.testing.assert_array_equal(mean([member] * 3), member)


def test_the_loss_of_an_ensemble_is_at_most_the_mean_of_its_members() -> None:
    members = softmax(5)
    losses = [log_loss(member, LABELS) for member in members]
    assert log_loss(mean(list(members)), LABELS) < np.mean(losses)


def test_one_sigmoid_unit_scores_as_two_classes() -> None:
    of_one = RANDOM.random((50, 1))
    both, labels = np.hstack([1 - of_one, of_one]), LABELS % 2
    assert accuracy(of_one, labels) == accuracy(both, labels)
    assert log_loss(of_one, labels) == log_loss(both, labels)


def test_a_label_held_impossible_costs_as_much_as_in_keras() -> None:
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize("seeds", [10, 14])
def test_ensembles_of_seeds_share_no_run(seeds: int) -> None:
    runs = make_runs({"none": 0.0, "l2": 0.03}, seeds=seeds)
    found = list(ensembles.of_seeds(runs, predictions(runs)))
    assert [each.techniques for each in found] == [("none",), ("l2",)]
    used = [key for each in found for members in each.members for key in members]
    assert len(used) == len(set(used)) == 2 * (seeds // SEEDS) * SEEDS


def test_runs_on_different_rows_form_no_ensemble_of_seeds() -> None:
    runs = make_runs({"none": 0.0, "l2": 0.03})
    assert not list(ensembles.of_seeds(runs, predictions(runs, draws=True)))


def test_across_techniques_runs_of_one_seed_are_combined() -> None:
    runs = make_runs(EFFECTS)
    penalties, every = ensembles.of_techniques(runs)
    assert penalties.members[3] == [f"tuned-{name}-3" for name in PENALTIES]
    assert set(every.techniques) == set(EFFECTS)
    assert len(every.members) == 10


def test_the_single_model_is_chosen_by_validation_and_never_by_test() -> None:
    runs = make_runs(EFFECTS)
    runs.loc[runs["technique"] == "l1", "val_accuracy"] = 0.99
    for each in ensembles.of_techniques(runs.assign(test_accuracy=RANDOM.random(len(runs)))):
        assert each.single == "l1"
        assert each.singles[2] == ["tuned-l1-2"]


def test_the_articles_setting_combines_no_techniques() -> None:
    runs = make_runs(EFFECTS, setting="article", leaks=True)
    assert set(ensembles.summarize(runs, predictions(runs))["kind"]) == {"seeds"}


def test_the_table_is_made_of_the_ensembles_and_their_single_models() -> None:
    runs = make_runs(EFFECTS, seeds=30)
    given = predictions(runs)
    table = ensembles.summarize(runs, given)
    assert tuple(table) == COLUMNS
    l2 = table[table["techniques"] == "l2"].iloc[0]
    keys = [[f"tuned-l2-{seed}" for seed in range(first, first + 5)] for first in range(0, 30, 5)]
    scores = np.array([given.score(each) for each in keys])
    singles = np.array([given.score([key]) for each in keys for key in each])
    assert (l2["kind"], l2["members"], l2["n"], l2["single"]) == ("seeds", 5, 6, "l2")
    assert l2["test_accuracy"] == pytest.approx(scores[:, 0].mean())
    assert l2["single_accuracy"] == pytest.approx(singles[:, 0].mean())
    assert l2["difference"] == pytest.approx(l2["test_accuracy"] - l2["single_accuracy"])
    assert l2["loss_difference"] < 0
    assert l2["difference_low"] < l2["difference"] < l2["difference_high"]


def test_p_and_interval_of_an_ensemble_never_contradict() -> None:
    for seeds in (10, 30):
        runs = make_runs(EFFECTS, seeds=seeds)
        table = ensembles.summarize(runs, predictions(runs))
        outside = (table["difference_low"] > 0) | (table["difference_high"] < 0)
        assert (outside == (table["p"] < 0.05)).all()


def nested(seeds: int = 6) -> tuple[pd.DataFrame, Predictions]:
    """Four replicates with their own search and sample each, and some seeds in each."""
    runs = make_runs(EFFECTS, seeds=4 * seeds, per_replicate=seeds, overlap=0.3)
    found = predictions(runs)
    for run in runs.to_dict("records"):
        found.samples[run["key"]] = f"tuned.{run['replicate']}"
        found.labels[f"tuned.{run['replicate']}"] = found.labels["tuned.0"]
    return runs, found


@pytest.mark.parametrize(("seeds", "members"), [(3, 3), (6, 5), (10, 5)])
def test_seeds_of_one_split_are_combined_and_never_those_of_two(seeds: int, members: int) -> None:
    runs, found = nested(seeds)
    replicate = runs.set_index("key")["replicate"]
    for each in ensembles.of_seeds(runs, found):
        assert len(each.members) == 4 * (seeds // members)
        for keys in each.members:
            assert len(keys) == members
            assert replicate[keys].nunique() == 1


def test_ensembles_of_one_split_count_once_and_splits_overlap() -> None:
    runs, found = nested(10)
    table = ensembles.summarize(runs, found).set_index("techniques")
    (l2,) = (each for each in ensembles.of_seeds(runs, found) if each.single == "l2")
    scores = np.array([found.score(keys)[0] for keys in l2.members])
    means = scores.reshape(4, 2).mean(axis=1)  # two ensembles in each of four splits
    error = means.std(ddof=1) * np.sqrt(1 / 4 + 0.3)
    low, high = (float(table[f"test_accuracy_{end}"].loc["l2"]) for end in ("low", "high"))
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 3) * error)


def test_of_several_searches_on_the_same_draws_the_first_is_combined() -> None:
    runs = make_runs(EFFECTS, searches=3)
    first = runs[runs["search"] == 0]
    pd.testing.assert_frame_equal(
        ensembles.summarize(runs, predictions(runs)), ensembles.summarize(first, predictions(first))
    )


def test_too_few_runs_for_any_ensemble_leave_the_table_empty() -> None:
    runs = make_runs({"none": 0.0}, seeds=1)
    assert ensembles.summarize(runs, predictions(runs)).empty


def unit(setting: str, seed: int) -> Run:
    return Run(
        study="circles",
        data_digest="",
        model=Mlp("mlp", (8,)),
        training=Training("adam", 0.01, 16, 1),
        technique="none",
        values={},
        setting=setting,
        seed=seed,
        draw=seed,
        study_seed=1,
        program="auto",
        population="auto",
    )


def test_what_train_writes_is_what_is_read(tmp_path: Path) -> None:
    y = np.arange(12, dtype=np.int32) % 2
    rows = np.arange(12, dtype=np.int32).reshape(2, 6)
    parts = {part: rows[:, i : i + 2] for part, i in (("train", 0), ("val", 2), ("test", 4))}
    shared = {part: each[:1] for part, each in parts.items()}
    x = np.zeros((12, 2), np.float32)
    data = Dataset("circles", 2, x, y, {"article": shared, "leak_free": parts})  # type: ignore[dict-item]
    units = [unit("tuned", 0), unit("tuned", 1), unit("article", 0), unit("article", 1)]
    outputs = RANDOM.random((4, 2, 1)).astype(np.float32)
    path = tmp_path / "predictions.npz"
    results.write_predictions(zip(units, outputs, strict=True), data, path)
    keys = [each.key for each in units]
    found = ensembles.read(path.parent, pd.DataFrame({"key": keys}))
    samples = ["leak_free.0", "leak_free.1", "article.0", "article.0"]
    assert [found.samples[key] for key in keys] == samples
    for key, expected in zip(keys, outputs, strict=True):
        np.testing.assert_array_equal(found.probabilities[key], expected)
        assert found.probabilities[key].dtype == np.float32
    np.testing.assert_array_equal(found.labels["leak_free.1"], y[10:])
    with pytest.raises(
        UserError,
        match=r"lacks the predictions of 1 of the 5 .* key lost; run `python -m pipeline train",
    ):
        ensembles.read(path.parent, pd.DataFrame({"key": [*keys, "lost"]}))
