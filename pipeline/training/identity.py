"""The key of a run: a digest of everything that decides its result, and of nothing else.

In the key: the data, the model, the parts of the change that are there, values, training, seeds,
the engine's settings that affect rounding, the versions of the libraries that compute, and a digest
of the code that trains. Not in it: the study's name, titles and wording, the schema of params.yaml,
how and where runs are executed, and the measures of a trained model, since they can be computed
again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from pipeline.datasets.task import SIGMAS, Task
from pipeline.training import code

# The files that decide how a model is trained; of techniques, only the classes of a change do. The
# names and sizes of an architecture's layers are in the key itself.
TRAINS = (
    "engine/*.py",
    *("models/building.py", "models/initial.py", "models/plain.py", "models/stack.py"),
    *("models/whitening.py", "training/trainer.py", "training/exports.py", "training/seeds.py"),
    "training/targets.py",
)
# The files that decide the measures of a trained model.
MEASURES = (
    *("training/evaluation.py", "training/measures.py", "training/inspection.py"),
    "training/scores.py",
)
LIBRARIES = ("tensorflow", "keras", "numpy", "scipy")


def key_of(meaning: Mapping[str, Any]) -> str:
    """20 hexadecimal digits of the SHA-256 of a run's meaning."""
    text = json.dumps(meaning, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def canonical(value: Any) -> Any:
    """A value for JSON; a dataclass becomes its name and its fields that are not None.

    A field that is added later changes no key as long as it is None.
    """
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        given = {name: canonical(field) for name, field in own.items() if field is not None}
        return {"is": type(value).__name__} | given
    if isinstance(value, Mapping):
        return {name: canonical(item) for name, item in value.items()}
    return [canonical(item) for item in value] if isinstance(value, tuple | list) else value


@cache
def code_digest(classes: tuple[type, ...]) -> str:
    """A digest of the code and the libraries that train a change with parts of these classes."""
    statements = code.of_files(TRAINS).union(*(code.of_class(cls) for cls in classes))
    libraries = [f"{library}={version(library)}" for library in LIBRARIES]
    return _digest([*sorted(statements), *libraries])


@cache
def measuring_digest() -> str:
    """A digest of the code that measures trained models."""
    statements = code.of_files(MEASURES) | code.of_class(Task)
    return _digest([*sorted(statements), f"noise={SIGMAS}"])


@cache
def scoring_digest() -> str:
    """A digest of the code and the library that score trials for which training has no curve."""
    statements = code.of_files(("training/scores.py",))
    return _digest([*sorted(statements), f"scikit-learn={version('scikit-learn')}"])


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
