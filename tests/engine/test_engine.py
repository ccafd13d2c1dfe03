"""Properties of training a population."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest

from pipeline.engine import Engine, Member, member_bytes
from pipeline.engine.program import CURVES
from pipeline.models.architectures import Mlp

from .problem import VAL_ROWS, Problem, same, typical

XLA, GRAPH = Engine("xla", 3), Engine("graph", 1)
LONG = 1e6  # seconds
ENGINES = pytest.mark.parametrize("engine", [XLA, GRAPH], ids=["xla", "graph"])


@pytest.mark.slow
def test_kernel_penalties_share_the_baselines_xla_program() -> None:
    problem, engine = Problem(epochs=1), Engine("xla", 2)
    for technique in ("none", "l1", "l2", "l1_l2", "mixed_penalties"):
        problem.train(engine, [problem.member(technique, typical(technique))], technique)
    assert engine.traces == 1


@pytest.mark.slow
def test_wide_models_pay_for_no_penalty_that_they_do_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = Problem()
    penalised = ("l1", "l2", "l1_l2", "mixed_penalties")
    members = {name: problem.member(name, typical(name)) for name in ("none", *penalised)}
    shared = {name: problem.train(XLA, [member], name)[0] for name, member in members.items()}
    monkeypatch.setattr("pipeline.engine.SHARED_LIMIT", 0)
    engine = Engine("xla")
    for name, member in members.items():
        assert engine.population(member, problem.training(name, typical(name))) == 1
        found = problem.train(engine, [member], name)[0]
        for curve in CURVES:
            np.testing.assert_allclose(
                found.curves[curve], shared[name].curves[curve], rtol=2e-5, atol=2e-6
            )
        assert engine.traces == (1 if name == "none" else 2)


@pytest.mark.parametrize(
    ("hidden", "batch_size", "kind", "population"),
    [((64, 64), 32, "xla", 5), ((200, 100, 50), 32, "xla", 1), ((500,) * 5, 128, "graph", 1)],
)
def test_kind_and_population_follow_from_the_work_of_a_step(
    hidden: tuple[int, ...], batch_size: int, kind: str, population: int
) -> None:
    problem = Problem(batch_size=batch_size, architecture=Mlp("mlp", hidden), shape=(28, 28))
    model = problem.model("none", {})
    member = replace(Problem().member(), model=model)
    training = problem.training("none", {})
    assert Engine().kind(model, batch_size) == kind
    assert Engine().population(member, training) == population


@pytest.mark.slow
@ENGINES
def test_trials_and_seeds_share_one_program(engine: Engine) -> None:
    problem, before = Problem(epochs=2), engine.traces
    for strength in (1e-4, 1e-2):
        for seed in range(3):
            values = {"rate": 0.3, "strength": strength}
            engine.train(
                [problem.member("dropout_l2", values, seed, learning_rate=strength)],
                problem.training("dropout_l2", values),
                *problem.data(),
            )
    assert engine.traces <= before + 1


@pytest.mark.slow
@ENGINES
def test_same_seed_gives_the_same_bits(engine: Engine) -> None:
    problem = Problem()
    member = problem.member("dropout", {"rate": 0.4}, seed=5)
    first, again = (problem.train(engine, [member], "dropout")[0] for _ in range(2))
    assert same(first, again)


@pytest.mark.slow
def test_a_member_does_not_depend_on_its_neighbours() -> None:
    problem = Problem()
    rates = (0.1, 0.4, 0.7, 0.2)
    members = [problem.member("dropout", {"rate": rate}, seed) for seed, rate in enumerate(rates)]
    together = problem.train(XLA, members, "dropout")
    backwards = problem.train(XLA, members[::-1], "dropout")[::-1]
    alone = [problem.train(XLA, [member], "dropout")[0] for member in members]
    for each in zip(together, backwards, alone, strict=True):
        assert same(each[0], each[1])
        assert same(each[0], each[2])


def test_xla_and_graph_agree() -> None:
    problem = Problem()
    member = problem.member("dropout", {"rate": 0.4})
    xla, graph = (problem.train(engine, [member], "dropout")[0] for engine in (XLA, GRAPH))
    for name in CURVES:
        np.testing.assert_allclose(xla.curves[name], graph.curves[name], rtol=2e-5, atol=2e-6)


@pytest.mark.slow
def test_chunks_do_not_change_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(epochs=7, batch_size=16)
    member = problem.member("dropout", {"rate": 0.4})
    whole = problem.train(XLA, [member], "dropout")[0]
    monkeypatch.setattr("pipeline.engine.program.STEPS_PER_CALL", 9)  # two epochs and a bit
    seen: list[int] = []
    training = problem.training("dropout", {"rate": 0.4})
    x, y = problem.data()
    chunked = Engine("xla", 3).train([member], training, x, y, seen.append)[0]
    assert seen == [3, 6, 7]
    assert same(whole, chunked)


@pytest.mark.slow
def test_large_validation_sets_are_evaluated_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem()
    whole = problem.train(XLA, [problem.member()])[0]
    monkeypatch.setattr("pipeline.engine.program.EVALUATION_ROWS", 8)  # 30 rows: three and a rest
    parts = problem.train(Engine("xla", 3), [problem.member()])[0]
    for name in CURVES:
        np.testing.assert_allclose(parts.curves[name], whole.curves[name], rtol=1e-5)


@pytest.mark.slow
@ENGINES
def test_a_member_that_diverges_is_marked_and_leaves_the_others_alone(engine: Engine) -> None:
    problem = Problem(epochs=6)
    good = [problem.member(seed=seed) for seed in range(2)]
    bad = problem.member(seed=2, learning_rate=1e38)
    calm = problem.train(engine, [*good, problem.member(seed=2)])
    first, lost, second = problem.train(engine, [good[0], bad, good[1]])
    assert lost.diverged is not None
    assert lost.epochs_run == lost.diverged <= 6
    assert all(np.isfinite(weight).all() for weight in lost.weights)
    assert [first.diverged, second.diverged] == [None, None]
    assert same(first, calm[0])
    assert same(second, calm[1])


@pytest.mark.parametrize("members", [1, 3])
def test_populations_are_as_large_as_the_memory_holds(members: int) -> None:
    problem = Problem()
    member, training = problem.member(), problem.training("none", {})
    bytes_each = member_bytes(member.model, VAL_ROWS)
    assert Engine("xla", memory=bytes_each * members).population(member, training) == members
    assert Engine("xla", memory=bytes_each // 2).population(member, training) == 1
    assert Engine("xla").population(member, training) == 5
    assert Engine("graph").population(member, training) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("technique", "first"), [("early_stopping", 0), ("dropout_early_stopping_again", 20)]
)
def test_early_stopping_stops_each_member_by_itself(technique: str, first: int) -> None:
    problem = Problem(epochs=40)
    patience = (1, 3, 8)
    values = [typical(technique) | {"patience": each} for each in patience]
    trained = problem.train(XLA, [problem.member(technique, each) for each in values], technique)
    for each, found in zip(patience, trained, strict=True):
        accuracy = found.curves["val_accuracy"][first:]
        assert found.best_epoch == first + int(np.argmax(accuracy)) + 1
        assert found.epochs_run == min(40, found.best_epoch + each)
    assert [found.epochs_run for found in trained] == sorted(found.epochs_run for found in trained)


def test_models_of_different_structure_are_rejected() -> None:
    problem = Problem()
    members = [problem.member("none"), problem.member("dropout", {"rate": 0.5})]
    with pytest.raises(ValueError, match="must share one structure"):
        problem.train(XLA, members)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"train_rows": np.arange(40)}, r"members\[1\].train_rows: expected 50 rows.* got 40"),
        ({"val_rows": np.arange(0)}, r"members\[1\].val_rows: expected 30 rows.* got 0"),
        ({"train_rows": np.arange(50) + 9999}, r"members\[1\].train_rows: .* 0 to .* 10048"),
        ({"val_rows": np.arange(30) - 1}, r"members\[1\].val_rows: .* but got -1 to 28"),
    ],
)
def test_indices_that_do_not_fit_the_data_are_rejected(
    wrong: dict[str, Any], expected: str
) -> None:
    problem = Problem()
    good = problem.member("none")
    with pytest.raises(ValueError, match=expected):
        problem.train(XLA, [good, replace(good, **wrong)])


def test_members_lacking_a_strength_of_the_training_are_rejected() -> None:
    problem = Problem()
    with pytest.raises(ValueError, match=r"members\[0\].kernel_steps: .*proximal_l1.* got \[\]"):
        problem.train(XLA, [problem.member("none")], "proximal_l1")
    with pytest.raises(ValueError, match="`members` must hold at least one"):
        problem.train(XLA, [])


def test_a_layer_that_the_engine_does_not_know_is_named() -> None:
    problem = Problem()
    model = keras.Sequential([keras.Input((6,)), keras.layers.LayerNormalization()])
    member = Member(model, model.get_weights(), 0.1, np.arange(50), np.arange(50, 80), 0)
    with pytest.raises(ValueError, match=r"trains Dense.*but got LayerNormalization"):
        problem.train(XLA, [member])


@pytest.mark.parametrize(
    ("output", "found"),
    [(keras.layers.Dense(3), "linear"), (keras.layers.Reshape((6,)), "none")],
    ids=["linear", "none"],
)
def test_a_classifier_that_does_not_end_in_probabilities_is_rejected(
    output: keras.Layer, found: str
) -> None:
    problem = Problem()
    model = keras.Sequential([keras.Input((6,)), output])
    member = Member(model, model.get_weights(), 0.1, np.arange(50), np.arange(50, 80), 0)
    with pytest.raises(ValueError, match=f"expected the activation softmax .* but got {found}"):
        problem.train(XLA, [member])


@pytest.mark.slow
def test_a_saved_model_predicts_the_same_without_this_package(tmp_path: Path) -> None:
    problem = Problem(epochs=1)
    model = problem.model("dropout_l2", typical("dropout_l2"))
    x, _ = problem.data()
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    script = (
        "import sys, keras, numpy as np\n"
        "model = keras.models.load_model('model.keras', safe_mode=True)\n"
        "np.save('found.npy', np.asarray(model(np.load('x.npy'))))\n"
        "assert not any(name.startswith('pipeline') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), np.asarray(model(x)), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "technique",
    [
        pytest.param("none", marks=pytest.mark.exhaustive),  # the others go on in the same way
        "dropout",
        "early_stopping",
        "ema",
    ],
)
@ENGINES
def test_training_that_resumes_from_a_checkpoint_gives_the_same_bits(
    technique: str, engine: Engine
) -> None:
    problem, values = Problem(epochs=9, batch_size=16), typical(technique)
    members = [problem.member(technique, values, seed) for seed in range(3)]
    training, data = problem.training(technique, values), problem.data()
    whole = engine.train(members, training, *data)
    short = replace(training, epochs=4, resumable=True)
    begun = engine.train(members, short, *data)
    # In another order, so that members meet other neighbours than before.
    resumed = [
        replace(member, checkpoint=part.checkpoint)
        for member, part in zip(members[::-1], begun[::-1], strict=True)
    ]
    for one, other in zip(whole, engine.train(resumed, training, *data)[::-1], strict=True):
        assert same(one, other)
        assert (one.epochs_run, one.best_epoch) == (other.epochs_run, other.best_epoch)


@pytest.mark.slow
@ENGINES
def test_velocities_are_part_of_a_checkpoint(engine: Engine) -> None:
    """Members of one program have their own momentum; that of 0 is plain gradient descent."""
    problem = Problem(optimizer="sgd", momentum=0.9, batch_size=16, epochs=5)
    members = [replace(problem.member(), momentum=momentum) for momentum in (0.9, 0.5, 0.0)]
    training, data = problem.training("none", {}), problem.data()
    whole = engine.train(members, training, *data)
    begun = engine.train(members, replace(training, epochs=2, resumable=True), *data)
    resumed = [
        replace(member, checkpoint=part.checkpoint)
        for member, part in zip(members, begun, strict=True)
    ]
    for one, other in zip(whole, engine.train(resumed, training, *data), strict=True):
        assert same(one, other)
    (plain,) = replace(problem, momentum=0.0).train(engine, [members[-1]])
    losses = [each.curves["train_loss"] for each in (*whole, plain)]
    np.testing.assert_allclose(losses[2], losses[3], rtol=1e-6)
    assert not np.allclose(losses[0], losses[1], rtol=1e-3)
    assert not np.allclose(losses[1], losses[2], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", pytest.param("sgd", marks=pytest.mark.exhaustive)])
@ENGINES
def test_what_ends_early_is_how_a_longer_training_begins(
    engine: Engine, optimizer: Literal["adam", "sgd"]
) -> None:
    """Dropout resumes from a run that early stopping ended, and a second fit from dropout."""
    problem = Problem(epochs=12, batch_size=16, learning_rate=0.05, optimizer=optimizer)
    data, names = problem.data(), ("dropout_early_stopping", "dropout")
    again = "dropout_early_stopping_again"
    values = {name: {"rate": 0.5, "patience": 2} for name in (*names, again)}
    values["dropout"] = {"rate": 0.5}
    member = {name: problem.member(name, values[name]) for name in values}
    how = {name: problem.training(name, values[name]) for name in values}
    how[again] = replace(how[again], epochs=24, start_from_epoch=12, restart_after=12)
    whole = {name: engine.train([member[name]], how[name], *data)[0] for name in values}
    assert whole["dropout_early_stopping"].epochs_run < 12
    assert 12 < whole[again].epochs_run < 24
    before = None
    for name, expected in whole.items():
        begun = replace(member[name], checkpoint=before)
        (found,) = engine.train([begun], replace(how[name], resumable=True), *data)
        assert same(found, expected)
        assert (found.epochs_run, found.best_epoch) == (expected.epochs_run, expected.best_epoch)
        went_on = before is not None and engine is GRAPH  # XLA may fuse differently
        assert (found.seconds > LONG) == went_on
        assert found.checkpoint is not None
        before = replace(found.checkpoint, seconds=LONG)


@pytest.mark.slow
def test_a_run_that_diverged_is_how_a_longer_training_begins() -> None:
    problem = Problem(epochs=6, learning_rate=1000.0, optimizer="sgd")
    data, again = problem.data(), "dropout_early_stopping_again"
    values = {"dropout": {"rate": 0.5}, again: {"rate": 0.5, "patience": 2}}
    member = {name: problem.member(name, values[name]) for name in values}
    how = {name: problem.training(name, values[name]) for name in values}
    how[again] = replace(how[again], epochs=12, start_from_epoch=6, restart_after=6)
    (whole,) = GRAPH.train([member[again]], how[again], *data)
    (begun,) = GRAPH.train([member["dropout"]], replace(how["dropout"], resumable=True), *data)
    assert whole.diverged is not None
    (found,) = GRAPH.train([replace(member[again], checkpoint=begun.checkpoint)], how[again], *data)
    assert same(found, whole)
    assert (found.diverged, found.best_epoch) == (whole.diverged, whole.best_epoch)


@pytest.mark.slow
def test_members_without_a_checkpoint_start_from_their_weights() -> None:
    problem = Problem(epochs=6)
    members = [problem.member(seed=seed) for seed in range(2)]
    training, data = problem.training("none", {}), problem.data()
    short = replace(training, epochs=2, resumable=True)
    begun = replace(members[0], checkpoint=XLA.train(members, short, *data)[0].checkpoint)
    whole = XLA.train(members, training, *data)
    for one, other in zip(whole, XLA.train([begun, members[1]], training, *data), strict=True):
        assert same(one, other)
