"""In which order the engine and `fit` see the training examples.

This `fit` gets arrays and `shuffle=True`, with a seed of TensorFlow and without. Its behaviour is
tested because docs/shuffling.md tells it, and a release of Keras may change it.
"""

import io
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import shuffling
from benchmarks.processes import alone
from pipeline.datasets import Dataset, Ints, Part
from pipeline.engine import Engine, Member, Trained, Training, batch_order
from pipeline.engine.population import Population
from pipeline.engine.program import Program, Shape

SEEDS = st.integers(0, 2**32 - 1)
KINDS = pytest.mark.parametrize("kind", ["xla", "graph"])
PAGE = Path("docs/shuffling.md")
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

ROWS, BATCH, EPOCHS = 12, 4, 3
Orders = list[list[int]]  # an order of the rows for each epoch


@given(SEEDS, st.integers(0, 10_000), st.integers(1, 200))
def test_an_order_has_every_row_once_and_is_the_same_each_time(
    seed: int, epoch: int, rows: int
) -> None:
    order = batch_order(seed, epoch, rows)
    assert sorted(order) == list(range(rows))
    np.testing.assert_array_equal(order, batch_order(seed, epoch, rows))


@given(SEEDS, st.integers(0, 10_000), st.integers(20, 200))
def test_epochs_and_seeds_have_orders_of_their_own(seed: int, first: int, rows: int) -> None:
    """Of 20 rows, two orders are equal by chance once in 10^18."""
    orders = [tuple(batch_order(seed, epoch, rows)) for epoch in range(first, first + 20)]
    assert len(set(orders)) == 20
    assert tuple(batch_order(seed + 1, first, rows)) not in orders


def test_in_many_epochs_each_row_comes_equally_often_at_each_position() -> None:
    orders = np.array([batch_order(0, epoch, ROWS) for epoch in range(6_000)])
    for position in orders.T:
        assert stats.chisquare(np.bincount(position, minlength=ROWS)).pvalue > 1e-4


@pytest.fixture
def given_rows(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Grows with each call of a program by the rows it is given to train on, (epochs, n)."""
    given: list[np.ndarray] = []

    class Watched(Program):
        def __init__(self, population: Population, shape: Shape) -> None:
            super().__init__(population, shape)
            advance = self.advance

            def watched(state: Any, inputs: dict[str, Any]) -> Any:
                given.append(inputs["train"][: inputs["count"], 0])
                return advance(state, inputs)

            self.advance = watched

    monkeypatch.setattr("pipeline.engine.Program", Watched)
    return given


@pytest.mark.slow
@KINDS
def test_a_program_gets_fresh_orders_in_all_its_calls(
    kind: Literal["xla", "graph"], given_rows: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over more epochs than one call trains."""
    monkeypatch.setattr("pipeline.engine.program.STEPS_PER_CALL", 4 * ROWS // BATCH)
    seen = []
    for seed in (0, 0, 1):
        given_rows.clear()
        train(kind, seed, epochs=10)
        assert [len(rows) for rows in given_rows] == [4, 4, 2]
        seen.append(np.concatenate(given_rows))
    first, again, other = seen
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.sort(first), np.tile(np.arange(ROWS), (10, 1)))
    assert len({tuple(order) for order in [*first, *other]}) == 20


@pytest.mark.slow
@KINDS
def test_a_compiled_program_trains_in_these_orders(kind: Literal["xla", "graph"]) -> None:
    """Its curve is that of the fresh orders; with one order for all epochs it is another."""
    found = train(kind, seed=0, epochs=10)
    fresh = [batch_order(0, epoch, ROWS) for epoch in range(10)]
    one = [batch_order(0, 0, ROWS)] * 10
    np.testing.assert_allclose(found.curves["train_loss"], losses(fresh), rtol=1e-4)
    differences = np.abs(found.curves["train_loss"] - losses(one)) / losses(one)
    assert np.all(differences[1:] > 1e-2)
    again = train(kind, seed=0, epochs=10)
    np.testing.assert_array_equal(found.curves["train_loss"], again.curves["train_loss"])


def data() -> tuple[np.ndarray, np.ndarray]:
    """Two inputs, and two classes that they do not decide."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 2)).astype(np.float32), rng.integers(2, size=ROWS, dtype=np.int32)


def train(kind: Literal["xla", "graph"], seed: int, epochs: int) -> Trained:
    """Logistic regression from zero weights, with a rate at which the order of batches shows."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    weights = [np.zeros(weight.shape, np.float32) for weight in model.weights]
    rows = np.arange(ROWS, dtype=np.int32)
    member = Member(model, weights, 3.0, rows, rows, seed)
    training = Training("sgd", BATCH, epochs, n_classes=2)
    return Engine(kind, 1).train([member], training, *data())[0]


def losses(orders: list[np.ndarray]) -> np.ndarray:
    """The loss of each epoch of the same training in NumPy, with these orders."""
    x, y = data()
    weights, bias, losses = np.zeros(2), 0.0, []
    for order in orders:
        of_batches = []
        for rows in order.reshape(-1, BATCH):
            logits = x[rows] @ weights + bias
            of_batches.append(np.mean(np.logaddexp(0, logits) - y[rows] * logits))
            errors = 1 / (1 + np.exp(-logits)) - y[rows]
            weights = weights - 3.0 * errors @ x[rows] / BATCH
            bias = bias - 3.0 * errors.mean()
        losses.append(np.mean(of_batches))
    return np.array(losses)


class Reseeding(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Sets another seed at the start of each epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        keras.utils.set_random_seed(100 + epoch)


def orders_of_fit(*arguments: Any, options: Mapping[str, Any] = {}, **given: Any) -> Orders:
    """The orders in which two calls of `fit` see the numbers 0 to 11; `options` of `compile`."""
    import tensorflow as tf

    seen: list[int] = []

    class Watched(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
        def call(self, x: Any) -> Any:
            tf.py_function(lambda rows: seen.extend(rows.numpy().ravel()), [x], [])
            return x

    model = keras.Sequential([keras.Input((1,)), Watched(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False, **options)
    for _ in range(2):
        model.fit(*arguments, epochs=EPOCHS, verbose=0, **given)
    return np.reshape(seen, (2 * EPOCHS, ROWS)).astype(int).tolist()


def all_orders() -> dict[str, dict[str, Orders]]:
    """Seed → how `fit` is called → orders. Only in a fresh process, where no seed is set yet."""
    import tensorflow as tf

    x = np.arange(ROWS, dtype=np.float32)[:, None]
    arrays: dict[str, Any] = {"x": x, "y": x, "batch_size": BATCH, "shuffle": True}

    def ways() -> dict[str, Orders]:
        return {
            "compiled": orders_of_fit(**arrays),
            "eager": orders_of_fit(**arrays, options={"run_eagerly": True}),
            "two steps at once": orders_of_fit(**arrays, options={"steps_per_execution": 2}),
        }

    found = {"none": ways()}
    random.seed(0)
    np.random.seed(0)
    found["of Python and NumPy"] = {"compiled": orders_of_fit(**arrays)}
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        found[str(seed)] = ways()
    tf.random.set_seed(0)
    found["of TensorFlow"] = {"compiled": orders_of_fit(**arrays)}
    found["in each epoch"] = {"compiled": orders_of_fit(**arrays, callbacks=[Reseeding()])}
    once = tf.data.Dataset.from_tensor_slices((x, x)).shuffle(ROWS, reshuffle_each_iteration=False)
    found["dataset"] = {"shuffled once": orders_of_fit(once.batch(BATCH), shuffle=False)}
    return found


@pytest.fixture(scope="module")
def keras_orders() -> dict[str, dict[str, Orders]]:
    """Seen in a process of its own: a seed would stay for all later tests."""
    return alone(all_orders)


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1", "of TensorFlow"])
def test_fit_with_a_seed_repeats_one_order(
    seed: str, keras_orders: dict[str, dict[str, Orders]]
) -> None:
    """In all epochs, and in a second `fit`, however it is compiled.

    Should this fail with a new Keras, the trap is gone, and docs/shuffling.md has to say so.
    """
    orders = np.array(list(keras_orders[seed].values()))
    assert sorted(orders[0, 0]) == list(range(ROWS))
    assert np.all(orders == orders[0, 0])


@pytest.mark.slow
def test_each_seed_gives_fit_another_order(
    keras_orders: dict[str, dict[str, Orders]],
) -> None:
    assert keras_orders["0"]["compiled"] != keras_orders["1"]["compiled"]
    assert keras_orders["0"]["compiled"] == keras_orders["of TensorFlow"]["compiled"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["none", "of Python and NumPy"])
def test_fit_without_a_seed_of_tensorflow_has_an_order_for_each_epoch(
    seed: str, keras_orders: dict[str, dict[str, Orders]]
) -> None:
    orders = np.reshape(list(keras_orders[seed].values()), (-1, ROWS))
    assert np.all(np.sort(orders) == np.arange(ROWS))
    assert len({tuple(order) for order in orders}) == len(orders)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "way"), [("in each epoch", "compiled"), ("dataset", "shuffled once")]
)
def test_what_the_page_says_does_not_help_does_not(
    seed: str, way: str, keras_orders: dict[str, dict[str, Orders]]
) -> None:
    """Within a `fit`; the second one is built after another seed."""
    first, *others = keras_orders[seed][way][:EPOCHS]
    assert sorted(first) == list(range(ROWS))
    assert others == [first] * (EPOCHS - 1)


def shown() -> Iterator[tuple[str, str]]:
    """Each block of code in the page with the output that follows it."""
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    assert [language for language, _ in blocks] == ["python", "text"] * (len(blocks) // 2)
    texts = [text for _, text in blocks]
    return zip(texts[::2], texts[1::2], strict=True)


def printed() -> list[str]:
    """What the blocks of code print, run one after the other."""
    namespace: dict[str, Any] = {}
    outputs = []
    for code, _ in shown():
        with redirect_stdout(io.StringIO()) as output:
            exec(code, namespace)
        outputs.append(output.getvalue())
    return outputs


def test_the_page_shows_one_order_and_then_fresh_ones_twice() -> None:
    outputs = [np.array(re.findall(r"\d+", text), int) for _, text in shown()]
    seeded, *remedies = [output.reshape(-1, ROWS) for output in outputs if len(output) > 1]
    assert len({tuple(order) for order in seeded}) == 1
    assert len(remedies) == 3
    for first, again in (np.split(orders, 2) for orders in remedies):
        np.testing.assert_array_equal(first, again)
        assert len({tuple(order) for order in first}) == EPOCHS


@pytest.mark.slow
def test_the_code_of_the_page_prints_what_it_shows() -> None:
    """In a fresh process, as of a reader."""
    assert alone(printed) == [output for _, output in shown()]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "orders"), [("engine", EPOCHS), ("engine_one_order", 1)])
def test_the_benchmarks_engine_has_fresh_orders_or_one(
    kind: str, orders: int, given_rows: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = replace(shuffling.WORK, layers=lambda: [keras.layers.Flatten()], epochs=EPOCHS)
    monkeypatch.setattr(shuffling, "WORK", work)
    train_loss = shuffling.KINDS[kind](work.model(), images(), 0)
    assert np.isfinite(train_loss)
    seen = np.concatenate(given_rows)
    np.testing.assert_array_equal(np.sort(seen), np.tile(np.arange(40), (EPOCHS, 1)))
    assert len({tuple(order) for order in seen}) == orders


def images() -> Dataset:
    """Forty images to train on, ten of which validate, and ten to test."""
    rng, rows = np.random.default_rng(0), np.arange(50, dtype=np.int32)[None]
    x, y = rng.random((50, 28, 28), np.float32), rng.integers(10, size=50).astype(np.int32)
    parts: dict[Part, Ints] = {"train": rows[:, :40], "val": rows[:, :10], "test": rows[:, 40:]}
    return Dataset("images", 10, x, y, {"article": parts, "leak_free": parts})


def test_the_benchmark_goes_on_with_the_runs_that_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "shuffling.csv"
    assert shuffling.finished(file) == []
    runs = list(shuffling.missing([]))
    assert runs[:5] == [*((kind, 0) for kind in shuffling.KINDS), ("seeded", 1)]
    assert len(runs) == shuffling.RUNS * len(shuffling.KINDS)
    lines = [shuffling.Line(kind, run, 0.8875, 0.125) for kind, run in runs[:6]]
    for line in lines:
        shuffling.append(line, file)
    assert shuffling.finished(file) == lines
    assert list(shuffling.missing(lines)) == runs[6:]


def test_the_pages_tables_are_those_of_the_benchmarks_runs() -> None:
    page = PAGE.read_text("utf-8")
    assert "\n".join(shuffling.table(shuffling.finished(shuffling.CSV))) in page
