"""A small classification problem and the pieces to train it with the engine and with Keras."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from pipeline import models
from pipeline.engine import Engine, Member, Trained, Training
from pipeline.params import Mlp
from pipeline.techniques import TECHNIQUES, Range

ROWS, VAL_ROWS, WIDTH = 50, 30, 6
ARCHITECTURE = Mlp("mlp", (12, 9, 7), "relu")


@dataclass(frozen=True)
class Problem:
    """Data with `n_classes` classes, and how members are trained on it."""

    n_classes: int = 3
    batch_size: int = 16  # 50 rows: three full batches and one of 2
    epochs: int = 4
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.01

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(ROWS + VAL_ROWS, WIDTH)).astype(np.float32)
        y = (x @ rng.normal(size=(WIDTH, self.n_classes))).argmax(axis=1).astype(np.int32)
        return x, y

    def model(self, technique: str, values: Mapping[str, float]) -> keras.Sequential:
        change = TECHNIQUES[technique].apply(values)
        return models.build(ARCHITECTURE, change, (WIDTH,), self.n_classes)

    def training(self, technique: str, values: Mapping[str, float]) -> Training:
        change = TECHNIQUES[technique].apply(values)
        return Training(
            self.optimizer,
            self.batch_size,
            self.epochs,
            self.n_classes,
            monitor=change.stopping.monitor if change.stopping else None,
            thresholded=(
                models.hidden_kernels(self.model(technique, values)) if change.proximal else ()
            ),
        )

    def member(
        self,
        technique: str = "none",
        values: Mapping[str, float] | None = None,
        seed: int = 0,
        learning_rate: float | None = None,
    ) -> Member:
        values = values or {}
        change = TECHNIQUES[technique].apply(values)
        model = self.model(technique, values)
        return Member(
            model=model,
            weights=models.initial_weights(model, seed),
            learning_rate=learning_rate or self.learning_rate,
            train_rows=np.arange(ROWS, dtype=np.int32),
            val_rows=np.arange(ROWS, ROWS + VAL_ROWS, dtype=np.int32),
            seed=seed,
            patience=int(change.stopping.patience) if change.stopping else 0,
            proximal=change.proximal.l1 if change.proximal else 0.0,
        )

    def train(
        self, engine: Engine, members: list[Member], technique: str = "none"
    ) -> list[Trained]:
        values = typical(technique)
        return engine.train(members, self.training(technique, values), *self.data())


def typical(technique: str) -> dict[str, float]:
    """Values in the middle of the technique's ranges, with a patience that stops a short run."""
    values = {name: middle(found) for name, found in TECHNIQUES[technique].search.items()}
    return values | ({"patience": 1} if "patience" in values else {})


def middle(found: Range) -> float:
    value = np.sqrt(found.low * found.high) if found.log else (found.low + found.high) / 2
    return round(value) if found.integer else float(value)


def off(technique: str) -> dict[str, float]:
    """Values with which the technique does nothing."""
    return {name: 10**6 if name == "patience" else 0 for name in TECHNIQUES[technique].search}
