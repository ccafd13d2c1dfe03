"""params.yaml is read whole, checked, and its mistakes are explained."""

import copy
import io
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import loading, rules
from pipeline.errors import UserError
from pipeline.models.architectures import MODELS, Autoencoder, Cnn, Mlp
from pipeline.techniques.changes import Change
from pipeline.techniques.fit import fitting, misfit
from pipeline.techniques.noise import Dropout
from pipeline.techniques.penalties import KernelPenalty, Penalty
from pipeline.techniques.registry import TECHNIQUES, combination

RAW: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))


def changed(place: str, value: object) -> dict[str, Any]:
    """The project's params.yaml with one key set."""
    raw = copy.deepcopy(RAW)
    *section, key = place.split("/")
    here = raw
    for part in section:
        here = here[part]
    here[key] = value
    return raw


def test_the_projects_own_params_are_valid() -> None:
    studies = loading.load().studies
    replicates = {name: study.final.replicates for name, study in studies.items()}
    tuned = {"circles": 30, "digits": 10, "features": 10, "mnist": 5, "fashion_mnist": 5}
    assert tuned.items() <= replicates.items()
    # Every chosen setting on every draw or seed, or a search for each split or draw.
    crossed = {name for name, study in studies.items() if study.final.crossed}
    assert crossed == {"circles", "digits_autoencoder", "mnist_article", "fashion_article"}
    varied = [study for study in studies.values() if study.final.vary]
    assert len(varied) == 5
    assert all(len(study.final.vary.sizes) == 4 for study in varied if study.final.vary)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (
            "studies/circles/tuning/trails",
            3,
            "studies.circles.tuning: unknown key 'trails'; did you mean 'trials'?",
        ),
        (
            "studies/circles/training/momentum",
            0.9,
            "studies.circles.training.momentum: must be left out with adam, since momentum is of "
            "sgd, but got 0.9",
        ),
        (
            "studies/fashion_mnist/training/momentum",
            1.0,
            "studies.fashion_mnist.training.momentum: input should be less than 1",
        ),
        (
            "studies/digits/techniques/l1/article/momentum",
            0.9,
            "studies.digits.techniques.l1.article.momentum: must be left out with adam, since "
            "momentum is of sgd, but got 0.9",
        ),
        (
            "studies/fashion_article/techniques/none/article",
            {"momentum": 1.0},
            "techniques.none.article.momentum: must lie in [0, 1), but got 1.0",
        ),
        (
            "studies/digits/techniques/l1/article/learning_rate",
            0.0,
            "techniques.l1.article.learning_rate: must be > 0, but got 0.0",
        ),
        *[
            (
                "studies/digits/techniques/l1/article/epochs",
                epochs,
                "techniques.l1.article.epochs: must be a whole number from 1 to 1,000,000, but got",
            )
            for epochs in (0, 2.5, 10**7)
        ],
        ("studies/circles/techniques/l1l2", {}, "unknown key 'l1l2'; did you mean 'l1_l2'?"),
        (
            "studies/circles/techniques/l2/artcle",
            {},
            "techniques.l2: unknown key 'artcle'; did you mean 'article'?",
        ),
        (
            "studies/circles/techniques/l1+l2",
            {"combine": ["l1", "l2"]},
            "techniques: expected letters, digits and _ in your own name, but got 'l1+l2'",
        ),
        (
            "studies/features/techniques/none",
            {},
            "techniques.none: needs `article: {}`, as the baseline of the article setting of "
            "l1, l2, l0",
        ),
        ("studies/my-own", {}, "params.yaml:studies.my-own.data: required, but missing"),
        ("studies/my-own", None, "params.yaml:studies.my-own: input should be a dictionary"),
        (
            "studies/Circles",
            RAW["studies"]["circles"],
            "studies.Circles: names must differ in more than case, but there is also 'circles'",
        ),
        (
            "studies/two words",
            RAW["studies"]["circles"],
            "studies.two words: a name must be a letter, th",
        ),
        ("studies/NaN", RAW["studies"]["circles"], "studies.NaN: this word would not be read"),
        ("studies", {}, "params.yaml:studies: dictionary should have at least 1 item"),
        (
            "studies/my-own",
            RAW["studies"]["circles"] | {"data": {"source": "circles", "input": "", "noize": 1}},
            "studies.my-own.data: unknown key 'noize'; did you mean 'noise'? expected one of",
        ),
        (
            "studies/my-own",
            RAW["studies"]["circles"] | {"data": {"source": "circles", "input": "", "noise": -1}},
            "studies.my-own.data.noise: input should be greater than or equal to 0, but got -1",
        ),
        (
            "studies/circles/data/source",
            "circle",
            "studies.circles.data.source: unknown 'circle'; did you mean 'circles'?",
        ),
        (
            "studies/circles/data",
            {"input": ""},
            "studies.circles.data.source: required, but missing",
        ),
        (
            "studies/circles/data",
            {"source": "circles"},
            "studies.circles.data.input: required, but missing",
        ),
        (
            "studies/features/data/informative",
            50,
            "features.data: `informative` must be below inputs=50, but got 50",
        ),
        (
            "studies/circles/techniques/none_",
            {"combine": ["l1", "l2"]},
            "techniques.none_.combine: both techniques change kernel",
        ),
        (
            "studies/circles/techniques/nan",
            {"combine": ["l1", "dropout"]},
            "techniques.nan: this word would not be read back as text from a table of results",
        ),
        ("sed", 1, "top level: unknown key 'sed'; did you mean 'seed'?"),
        (
            "studies/circles/data/noise",
            -1,
            "circles.data.noise: input should be greater than or equal to 0, but got -1",
        ),
        (
            "studies/circles/tuning/trials",
            "many",
            "studies.circles.tuning.trials: input should be a valid integer",
        ),
        (
            "studies/circles/final/seeds",
            0,
            "final.seeds: input should be greater than or equal to 1, but got 0",
        ),
        (
            "studies/circles/final/replicates",
            31,
            "circles.data.draws: must be at least 76, 31 for the final runs and 45 for the "
            "searches, but got 75",
        ),
        (
            "studies/circles/techniques/l2",
            {"final": {"replicates": 40}},
            "circles.data.draws: must be at least 85, 40 for the final runs and 45 for the "
            "searches, but got 75",
        ),
        (
            "studies/digits/data/draws",
            9,
            "digits.data.draws: must be at least 10, 10 for the final runs and 0 for the "
            "searches, but got 9",
        ),
        (
            "studies/mnist_article/final",
            {"replicates": 10},
            "mnist_article.final.searches: data with one split need a number of searches",
        ),
        (
            "studies/circles/tuning/race",
            [{"candidates": 6, "draws": 6}, {"candidates": 7, "draws": 15}],
            "circles.tuning.race.1.candidates: must be at most 6, those before, but got 7",
        ),
        (
            "studies/circles/tuning/race",
            [{"candidates": 25, "draws": 6}],
            "circles.tuning.race.0.candidates: must be at most 24, those before, but got 25",
        ),
        (
            "studies/circles/tuning/race",
            [{"candidates": 6, "draws": 2}],
            "circles.tuning.race.0.draws: must be above 2, those before, but got 2",
        ),
        (
            "studies/circles/tuning/race",
            [{"candidates": 6, "draw": 6}],
            "circles.tuning.race.0: unknown key 'draw'; did you mean 'draws'?",
        ),
        (
            "studies/circles/outcomes",
            ["test_los"],
            "circles.outcomes: unknown measure 'test_los'; did you mean 'test_loss'? expected",
        ),
        (
            "studies/circles/outcomes",
            ["test_accuracy"],
            "circles.outcomes: 'test_accuracy' is the score of the study",
        ),
        (
            "studies/circles/techniques/train_and_validation",
            {"values_of": "l3"},
            "techniques.train_and_validation.values_of: no search of 'l3'; expected one of",
        ),
        (
            "studies/circles/techniques/train_and_validation",
            {"values_of": "activity_l1_after"},
            "techniques.train_and_validation.values_of: no search of 'activity_l1_after'; did",
        ),
        (
            "studies/circles/techniques/train_and_validation",
            {"values_of": "l2"},
            "train_and_validation.values_of: must name a search of the hyperparameters [], but "
            "got 'l2', which has ['strength']",
        ),
        (
            "studies/circles/techniques/train_and_validation",
            {},
            "techniques.train_and_validation.values_of: required, such as `none`",
        ),
        (
            "studies/circles/techniques/train_and_validation",
            {"values_of": "none", "article": {}},
            "techniques.train_and_validation.article: must be left out",
        ),
        (
            "studies/circles/techniques/dropout",
            {"values_of": "dropout", "search": {"rate": {"low": 0.1, "high": 0.2}}},
            "techniques.dropout.values_of: no search of 'dropout'",
        ),
        (
            "studies/circles/techniques/best_epoch",
            {"values_of": "none", "article": {}, "tuned": False},
            "techniques.best_epoch.values_of: has no search of its own; remove `search` or",
        ),
        (
            "studies/circles/techniques/l2",
            {"final": {"searches": 4}},
            "techniques.l2.final.searches: must be at most 3, those of the study, but got 4",
        ),
        (
            "studies/mnist_article/techniques/dropout",
            {"final": {"searches": 2}},
            "techniques.dropout.final.searches: must be at most 1, those of the study, but got 2",
        ),
        (
            "studies/circles/techniques/none",
            {"article": {}, "final": {"searches": 2}},
            "techniques.none.final.searches: must be 3, those of the study, as the baseline of",
        ),
        (
            "studies/digits/techniques/l2",
            {"final": {"searches": 3}},
            "techniques.l2.final.searches: must be left out, since each of the study's 10 "
            "replicates has a search of its own, but got 3",
        ),
        (
            "studies/features/techniques/l2",
            {"final": {"replicates": 11}},
            "techniques.l2.final.replicates: must be at most 10, those of the study, but got 11",
        ),
        ("studies/circles/tuning/round", 99, "tuning.round: must be at most trials="),
        (
            "studies/circles/tuning/pruning",
            {"first": 4000},
            "tuning.pruning.first: must be below epochs=4000, but got 4000",
        ),
        (
            "studies/circles/techniques/l1",
            {"tuned": False},
            "techniques.l1.tuned: `false` leaves only the article setting, but `article` is miss",
        ),
        (
            "studies/circles/techniques/none",
            {"article": {}, "tuned": False},
            "techniques.none.tuned: `false` leaves only the article setting, but the baseline is",
        ),
        (
            "studies/circles/techniques/l2",
            {"article": {"strength": -1}},
            "l2.article: `l2` must be finite and >= 0, but got l2=-1.0 (from strength=-1.0)",
        ),
        (
            "studies/circles/techniques/dropout",
            {"article": {"rate": 1.2}},
            "techniques.dropout.article: `rate` must lie in [0, 1), but got rate=1.2",
        ),
        (
            "studies/circles/techniques/l2",
            {"article": {"rate": 1}},
            "expected the hyperparameters ['strength'], but got ['rate']",
        ),
        (
            "studies/circles/techniques/l2",
            {"search": {"strenght": {"low": 1, "high": 2}}},
            "unknown key 'strenght'; did you mean 'strength'?",
        ),
        (
            "studies/circles/techniques/l2",
            {"search": {"strength": {"low": 2, "high": 1}}},
            "`low` must be below `high`, but got 2.0 and 1.0",
        ),
        (
            "studies/circles/techniques/l2",
            {"search": {"strength": {"low": 0, "high": 1, "log": True}}},
            "`low` must be > 0 on a log scale",
        ),
        (
            "studies/circles/techniques/rotation",
            {},
            "techniques.rotation: needs images (for rotation), but the data are points; expected",
        ),
        (
            "studies/circles/techniques/spatial_dropout",
            {},
            "spatial_dropout: needs the feature maps of a 'cnn', but got 'mlp'; expected one of",
        ),
        (
            "studies/circles/techniques/mine",
            {},
            "unknown key 'mine'; expected one of none, ",
        ),
        (
            "studies/circles/techniques/mine",
            {"combine": ["l2", "dropuot"]},
            "techniques.mine.combine: unknown technique 'dropuot'; did you mean 'dropout'?",
        ),
        (
            "studies/circles/techniques/mine",
            {"combine": ["l1", "l2"]},
            "techniques.mine.combine: both techniques change kernel",
        ),
        (
            "studies/circles/techniques/mine",
            {"combine": ["early_stopping/first"]},
            "techniques.mine.combine: stopping cannot be set for single layers",
        ),
        (
            "studies/circles/techniques/mine",
            {"combine": ["l1/hidden_2"]},
            "techniques.mine: names an unknown layer 'hidden_2'; did you mean 'hidden_1'",
        ),
        (
            "studies/circles/techniques/mine",
            {"combine": ["l1/first", "l2/hidden_1"]},
            "techniques.mine: both techniques change kernel",
        ),
        (
            "studies/circles/techniques/mine",
            {"combine": ["l2", "dropout"], "article": {"strength": 0.1, "rate": 0.5}},
            "expected the hyperparameters ['dropout.rate', 'l2.strength'], but got ['rate', 'st",
        ),
        (
            "studies/circles/techniques/l2",
            {"combine": ["l1"]},
            "techniques.l2.combine: 'l2' is a registered technique; choose another name",
        ),
        (
            "studies/circles/techniques/dropout",
            {"search": {"rate": {"low": 0.1, "high": 1.5}}},
            "techniques.dropout.search: `rate` must lie in [0, 1), but got rate=1.5",
        ),
        (
            "studies/circles/techniques/early_stopping",
            {"search": {"patience": {"low": 1, "high": 15}}},
            "search.patience: `integer: true` is needed for whole numbers",
        ),
        (
            "studies/circles/tuning/learning_rate",
            {"low": 0.1, "high": 0.01},
            "tuning.learning_rate: `low` must be below `high`, but got 0.1 and 0.01",
        ),
        (
            "studies/circles/techniques",
            {"l2": {}},
            "techniques: `none` is required, as the baseline of every comparison",
        ),
        (
            "engine/workers",
            0,
            "engine.workers: input should be greater than or equal to 1, but got 0",
        ),
        (
            "engine/program",
            "fast",
            "engine.program: input should be 'auto', 'xla' or 'graph', but got 'fast'",
        ),
        (
            "engine/executor",
            "slurm",
            "engine.executor: input should be 'local' or 'ray', but got 'slurm'",
        ),
        (
            "engine",
            {"executor": "ray", "address": "ray://10.0.0.1:10001"},
            "engine.address: expected host:port or auto, but got 'ray://10.0.0.1:10001'",
        ),
        (
            "engine/address",
            "10.0.0.1:6379",
            "params.yaml:engine: address: needs executor: ray, but got address: '10.0.0.1:6379'",
        ),
        ("engine/gpu_share", 0.5, "engine: gpu_share: needs executor: ray, but got gpu_share: 0.5"),
        ("studies/circles/model/hidden", [], "studies.circles.model.hidden: "),
        (
            "studies/digits/model",
            {"architecture": "cnn", "filters": [8], "kernelsize": 3},
            "digits.model: unknown key 'kernelsize'; did you mean 'kernel_size'?",
        ),
        (
            "studies/digits/model",
            {"architecture": "lstm", "hidden": [8]},
            "studies.digits.model.units: required, but missing",
        ),
        (
            "studies/digits/model",
            {"architecture": "cnn", "filters": [0]},
            "studies.digits.model.filters.0: input should be greater than or equal to 1",
        ),
        (
            "studies/digits/model/architecture",
            "lstn",
            "digits.model.architecture: unknown 'lstn'; did you mean 'lstm'? expected one of mlp",
        ),
        (
            "studies/digits/model",
            {"hidden": [8]},
            "studies.digits.model.architecture: required, but missing",
        ),
        (
            "studies/fashion_article/model/hidden",
            [200, 50],
            "fashion_article.techniques.mixed_penalties: needs 3 hidden layers, but got 2; "
            "expected one of none, l1, l2",
        ),
        (
            "studies/circles/model",
            {"architecture": "cnn", "filters": [8]},
            "circles.model.architecture: 'cnn' needs images, but the data are points; "
            "expected 'mlp' or 'autoencoder'",
        ),
        (
            "studies/digits/model",
            {"architecture": "autoencoder", "hidden": [8], "code": 0},
            "studies.digits.model.code: input should be greater than or equal to 1, but got 0",
        ),
        (
            "studies/digits/model",
            {"architecture": "autoencoder", "hidden": [8], "cod": 4},
            "digits.model: unknown key 'cod'; did you mean 'code'?",
        ),
        (
            "studies/circles/model",
            {"architecture": "autoencoder", "hidden": [8], "code": 4},
            "techniques.best_epoch: needs a validation accuracy, but got 'autoencoder', which "
            "has none; expected one of none, l1, l2",
        ),
        *(
            (
                f"studies/circles/tuning/{key}",
                value,
                f"circles.tuning.{key}: input should be a valid",
            )
            for key in ("trials", "seeds", "epochs")
            for value in (True, "3", 3.0, None, [3], "many")
        ),
        ("studies/circles/tuning/trials", 2**63, "must be at most 100,000, since each is a traini"),
        ("studies/circles/final/seeds", 2**63, "must be at most 10,000, since the rows of each"),
        ("seed", 2**63, "params.yaml:seed: must be at most 4,294,967,295, as NumPy's seeds"),
        (
            "studies/circles/training/learning_rate",
            float("inf"),
            "training.learning_rate: input should be a finite number, but got inf",
        ),
        (
            "studies/circles/training/learning_rate",
            "0.1",
            "training.learning_rate: input should be a valid number, but got '0.1'",
        ),
        ("engine/deterministic", "yes", "deterministic: input should be a valid boolean"),
        (
            "studies/digits/training/batch_size",
            10**6,
            "digits.training.batch_size: must be at most 2176 with 1088 training rows",
        ),
        (
            "studies/digits/techniques/early_stopping",
            {"article": {"patience": 31}},
            "early_stopping.article.patience: must be at most epochs=30, after which nothing",
        ),
        (
            "studies/digits/techniques/early_stopping",
            {"article": {"patience": 31, "epochs": 20}},
            "early_stopping.article.patience: must be at most epochs=20, after which nothing",
        ),
        (
            "studies/digits/techniques/early_stopping",
            {"article": {"patience": 2.5}},
            "early_stopping.article.'patience': must be a whole number, but got 2.5",
        ),
        (
            "studies/digits/techniques/early_stopping",
            {"search": {"patience": {"low": 31, "high": 40, "integer": True}}},
            "early_stopping.search.patience: must be at most epochs=30",
        ),
        (
            "studies/digits/model",
            {"architecture": "cnn", "filters": [8], "kernel_size": 50},
            "digits.model.kernel_size: must be at most 8, the images' side, but got 50",
        ),
        (
            "studies/digits/model",
            {"architecture": "cnn", "filters": [8], "pool": 9},
            "digits.model.pool: must be at most 8, the images' side, but got 9",
        ),
        (
            "studies/digits/techniques/mine",
            {"combine": ["l1/first", "l1/first"]},
            "mine.combine: each must stand once, but got ['l1/first', 'l1/first']",
        ),
        (
            "studies/digits/techniques/mine",
            {"combine": ["l1/first/first"]},
            "mine.combine: each must stand once, but got ['first', 'first']",
        ),
        ("studies/digits/model/hidden", [1e9], "digits.model.hidden.0: input should be a valid"),
        ("studies/digits/model/hidden", [10**9], "hidden.0: must be at most 65,536, since layers"),
        (
            "studies/digits/model/hidden",
            [30_000, 30_000],
            "digits.model: must have at most 268,435,456 weights, which with gradients and an "
            "optimizer's moments take 4 GiB, but got 901,920,000",
        ),
        (
            "studies/features/data/test",
            10**7,
            "features.data: draws must keep at most 536,870,912 numbers, which take 2 GiB",
        ),
        (
            "studies/digits/tuning/epochs_",
            10**6,
            "digits.tuning: unknown key 'epochs_'; did you mean 'epochs'",
        ),
        (
            "studies/features/tuning/trials",
            10**5,
            "features.tuning: a study must have at most 1,000,000 runs",
        ),
        ("studies/digits/outcomes", ["test_loss"] * 2, "outcomes: each must stand once, but got"),
        (
            "studies/digits/techniques/l2",
            {"article": {"strength": 1e-300}},
            "l2.article.'strength': must be 0 or of a size from 1e-30 to 1e+09, since training has",
        ),
        (
            "studies/digits/tuning/learning_rate",
            {"low": 1e-4, "high": 1e9, "log": True},
            "tuning.learning_rate.high: must be from 1e-12 to 1000, but got 1000000000.0",
        ),
        (
            "studies/circles/tr\N{CYRILLIC SMALL LETTER A}ining",
            {},
            "(with U+0430); did you mean 'training'?",
        ),
        (
            "studies/circles/train\N{SOFT HYPHEN}ing",
            {},
            "unknown key 'train\\xading' (with U+00AD)",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(place: str, value: object, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        loading.parse(changed(place, value))
    assert expected in str(caught.value)
    assert "params.yaml:" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("technique", "needs"),
    [
        (
            "activity_l1_before",
            "needs an output before the non-linearity, but got 'lstm', which has none",
        ),
        (
            "activation_tanh",
            "needs hidden layers of any non-linearity, but got 'lstm', which has its own",
        ),
    ],
)
def test_a_technique_that_an_lstm_has_no_place_for_is_refused(technique: str, needs: str) -> None:
    raw = changed("studies/digits/model", {"architecture": "lstm", "units": [8]})
    raw["studies"]["digits"]["techniques"] = {"none": {}, technique: {}}
    expected = f"techniques.{technique}: {needs}; expected one of none, l1, l2"
    with pytest.raises(UserError, match=re.escape(expected)):
        loading.parse(raw)


def test_a_missing_key_is_named() -> None:
    raw = copy.deepcopy(RAW)
    del raw["studies"]["digits"]["final"]
    with pytest.raises(UserError, match=r"studies\.digits\.final: required, but missing"):
        loading.parse(raw)


@pytest.mark.parametrize("text", ["", "- 1", "seed: [", "seed: 1"])
def test_what_is_no_params_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError):
        loading.load(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml not found"):
        loading.load(tmp_path / "nowhere.yaml")


@given(st.lists(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,63}", fullmatch=True), min_size=1))
def test_names_that_are_accepted_stay_apart_in_folders_and_tables(names: list[str]) -> None:
    if any(rules.name_problems(names)):
        readable = all(name.lower() not in rules.UNREADABLE for name in names)
        assert not readable or len({name.lower() for name in names}) < len(set(names))
        return
    assert len({name.lower() for name in names}) == len(set(names))
    table = pd.DataFrame({"study": names})
    for name in names:  # each as the only study of a table, and all in one
        written = pd.DataFrame({"study": [name]}).to_csv(index=False)
        assert list(pd.read_csv(io.StringIO(written))["study"]) == [name]
    assert list(pd.read_csv(io.StringIO(table.to_csv(index=False)))["study"]) == names


@pytest.mark.parametrize("word", ["NA", "nan", "NULL", "None", "True", "false", "inf", "Infinity"])
def test_words_that_pandas_reads_as_something_else_are_no_names(word: str) -> None:
    assert any(rules.name_problems([word]))


@given(st.text())
def test_a_name_out_of_the_alphabet_or_too_long_is_refused(name: str) -> None:
    allowed = re.fullmatch("[A-Za-z][A-Za-z0-9_-]{0,63}", name)
    assert allowed or any(rules.name_problems([name]))
    assert any(rules.name_problems(["a" * 65]))


def test_two_studies_can_share_a_source() -> None:
    raw = changed("studies/noisy-circles", copy.deepcopy(RAW["studies"]["circles"]))
    raw["studies"]["noisy-circles"]["data"]["noise"] = 0.3
    studies = loading.parse(raw).studies
    noises = {name: getattr(study.data, "noise", None) for name, study in studies.items()}
    assert (noises["circles"], noises["noisy-circles"]) == (0.1, 0.3)


def test_what_is_not_given_as_much_as_the_others_is_a_reference() -> None:
    mnist, circles = (loading.load().study(name) for name in ("mnist_article", "circles"))
    longer = {name for name in mnist.techniques if mnist.is_reference(name, "article")}
    assert longer == {name for name in mnist.techniques if name.endswith("_longer")}
    assert not any(mnist.is_reference(name, "tuned") for name in mnist.techniques)
    borrowed = {name for name in circles.techniques if circles.is_reference(name, "tuned")}
    assert borrowed == {name for name, own in circles.techniques.items() if own.values_of}


def test_an_unknown_study_lists_the_known_ones() -> None:
    with pytest.raises(
        UserError, match=r"'cifar' in params\.yaml:studies; expected one of circles"
    ):
        loading.load().study("cifar")


def test_own_ranges_replace_the_registrys_and_the_learning_rate_joins() -> None:
    raw = changed("studies/circles/techniques/l1_l2", {"search": {"l1": {"low": 0.1, "high": 0.2}}})
    found = loading.parse(raw).study("circles").search("l1_l2")
    assert (found["l1"].low, found["l1"].high) == (0.1, 0.2)
    assert found["l2"] == TECHNIQUES["l1_l2"].search["l2"]
    assert "learning_rate" in found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"architecture": "cnn", "filters": [32, 64], "hidden": [128]},
            Cnn("cnn", (32, 64), kernel_size=3, pool=2, hidden=(128,), activation="relu"),
        ),
        ({"architecture": "mlp", "hidden": [9]}, Mlp("mlp", (9,))),
        (
            {"architecture": "autoencoder", "hidden": [9], "code": 4},
            Autoencoder("autoencoder", (9,), 4),
        ),
    ],
)
def test_each_architecture_has_its_own_keys(given: dict[str, Any], expected: object) -> None:
    raw = changed("studies/digits/model", given)
    raw["studies"]["digits"] |= {"techniques": {"none": {}}, "outcomes": []}
    assert loading.parse(raw).study("digits").model == expected


@pytest.mark.parametrize(
    ("technique", "why"),
    [
        ("label_smoothing", "needs labels"),
        ("mixup", "needs labels"),
        ("dropout_early_stopping", "needs a validation accuracy"),
        ("l0", "removes units of a classifier"),
        ("rotation", "moves images (by rotation)"),
    ],
)
def test_what_means_nothing_without_classes_says_why(technique: str, why: str) -> None:
    change, model = TECHNIQUES[technique].lowest, Autoencoder("autoencoder", (8,), 4)
    found = misfit(change, model)
    assert (found or "").startswith(f"{why}, but got 'autoencoder'")
    assert technique not in fitting(model, images=True)


def test_changes_join_unless_they_set_the_same_part() -> None:
    l2 = Change(KernelPenalty(Penalty(l2=0.1)))
    assert Change(Dropout(0.5)) | l2 == Change(KernelPenalty(Penalty(l2=0.1)), Dropout(0.5))
    assert Change() | l2 == l2
    with pytest.raises(ValueError, match="both techniques change kernel"):
        l2 | l2


@pytest.mark.parametrize("bad", [{"l1": -1.0}, {"l2": float("inf")}, {"l1": float("nan")}])
def test_a_penalty_is_finite_and_not_negative(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be finite and >= 0"):
        Penalty(**bad)


def test_the_examples_in_params_yaml_are_valid() -> None:
    lines = Path("params.yaml").read_text(encoding="utf-8").splitlines()
    examples = [line.lstrip("# ") for line in lines if line.startswith("#   model:")]
    assert len(examples) == 3
    for example in examples:
        raw = changed("studies/digits/model", yaml.safe_load(example)["model"])
        digits = raw["studies"]["digits"]
        digits["outcomes"] = [] if "autoencoder" in example else digits["outcomes"]
        model = MODELS[digits["model"]["architecture"]](**digits["model"])
        for name, technique in list(digits["techniques"].items()):
            if misfit(combination(technique.get("combine") or [name]).lowest, model):
                del digits["techniques"][name]
        loading.parse(raw)
