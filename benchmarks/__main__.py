"""`make bench`: prints the table of benchmarks/README.md as measured here and now."""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from pipeline import models, params
from pipeline.datasets.sources import prepare
from pipeline.engine import Engine, Member, Training
from pipeline.results import PREPARED
from pipeline.techniques import TECHNIQUES

SAMPLED_EPOCHS = 20  # of fit; an epoch of fit costs the same from first to last
SEEDS = 30
VARIANTS = {
    "none": {},
    "activity_l1_before": {"strength": 1e-4},
    "activity_l1_after": {"strength": 1e-4},
}


def main() -> None:
    """Measures article A on circles: `fit` by sampled epochs, the engine whole."""
    study = params.load().study("circles")
    data = prepare("circles", study.data, 1, PREPARED)
    epochs, rows = study.training.epochs, data.rows("article", "train", 0)
    val = data.rows("article", "val", 0)

    def model(technique: str) -> keras.Sequential:
        change = TECHNIQUES[technique].apply(VARIANTS[technique])
        return models.build(study.model, change, data.input_shape, data.n_classes)

    def member(built: keras.Sequential, seed: int) -> Member:
        return Member(built, models.initial_weights(built, seed), 1e-3, rows, val, seed)

    def fit() -> None:
        built = model("none")
        built.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        x, y = data.x[rows], data.y[rows]
        together = {"validation_data": (data.x[val], data.y[val]), "verbose": 0}
        built.fit(x, y, epochs=1, **together)  # builds its functions
        times.append(_seconds(lambda: built.fit(x, y, epochs=SAMPLED_EPOCHS, **together)))

    training = Training("adam", study.training.batch_size, epochs, data.n_classes)
    times: list[float] = []
    for _ in range(3):
        fit()
    fit_seconds = median(times) / SAMPLED_EPOCHS * epochs
    one, many = Engine("xla", 1), Engine("xla")
    single = member(model("none"), 0)
    first = _seconds(lambda: one.train([single], training, data.x, data.y))
    again = median(
        _seconds(lambda: one.train([single], training, data.x, data.y)) for _ in range(3)
    )

    def thirty_seeds_three_variants() -> None:
        for technique in VARIANTS:
            built = model(technique)
            members = [member(built, seed) for seed in range(SEEDS)]
            many.train(members, training, data.x, data.y)

    whole = _seconds(thirty_seeds_three_variants) / (SEEDS * len(VARIANTS))
    print(_header())
    print(f"\ncircles, article A: {epochs:,} epochs with validation, seconds a model")
    for label, seconds in [
        (f"fit, {SAMPLED_EPOCHS} epochs measured and scaled", fit_seconds),
        ("engine, one model, with compiling", first),
        ("engine, one model, compiled before", again),
        (f"engine, {SEEDS} seeds x {len(VARIANTS)} variants, with compiling", whole),
    ]:
        print(f"  {label:<48} {seconds:9.3f} s   {fit_seconds / seconds:9,.0f} x")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _header() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return f"{platform.machine()}, {os.cpu_count()} cores, {libraries}; one process"


if __name__ == "__main__":
    main()
