"""The change that a technique makes: a set of parts that can be combined and put on layers.

A combination of techniques is the union of their changes. `models` applies parts to a model and
`trainer` to a training; neither knows any part in particular.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

from pipeline.techniques.part import Part

P = TypeVar("P", bound=Part)
At = tuple[tuple[tuple[str, ...], "Change"], ...]


@dataclass(frozen=True, init=False)
class Change:
    """A set of parts, at most one per slot; without parts it is the baseline.

    >>> from pipeline.techniques.noise import Dropout, InputNoise
    >>> change = Change(Dropout(0.5)).only("first") | Change(InputNoise(0.1))
    >>> change.on("hidden_1", index=0).own
    (InputNoise(stddev=0.1), Dropout(rate=0.5))
    >>> change.on("hidden_2", index=1).own
    (InputNoise(stddev=0.1),)

    Raises ValueError for two parts of one slot, and for parts that exclude each other:

    >>> Change(Dropout(0.5)) | Change(Dropout(0.2))
    Traceback (most recent call last):
    ValueError: both techniques change dropout; combine only techniques that change different things
    """

    own: tuple[Part, ...]  # on the whole network and all its layers, in the order of application
    at: At  # names of hidden layers, or "first", and the change on them

    def __init__(self, *parts: Part, at: At = ()) -> None:
        ordered = sorted(parts, key=lambda part: (part.order, part.slot))
        object.__setattr__(self, "own", tuple(ordered))
        object.__setattr__(self, "at", at)
        slots = [part.slot for part in parts]
        if twice := sorted({slot for slot in slots if slots.count(slot) > 1}):
            raise ValueError(
                f"both techniques change {', '.join(twice)}; "
                "combine only techniques that change different things"
            )
        for part in self.own:
            for other in self.own if part.per_layer else self.everywhere():
                if problem := part.clash(other):
                    raise ValueError(problem)

    def __or__(self, other: "Change") -> "Change":
        """The union of both changes. Raises ValueError if both have a part of the same slot."""
        return Change(*self.own, *other.own, at=self.at + other.at)

    def parts(self) -> Mapping[str, Part]:
        """Slot → part, without parts on single layers."""
        return {part.slot: part for part in self.own}

    def everywhere(self) -> Iterator[Part]:
        """All parts, including those on single layers."""
        yield from self.own
        for _, change in self.at:
            yield from change.everywhere()

    def get(self, kind: type[P]) -> P | None:
        """The part of this kind, without those on single layers; None if there is none."""
        return next((part for part in self.own if isinstance(part, kind)), None)

    def without(self, kind: type[Part]) -> "Change":
        """The change without parts of this kind."""
        return Change(*(part for part in self.own if not isinstance(part, kind)), at=self.at)

    def only(self, *layers: str) -> "Change":
        """The change on some of the hidden layers, by their names or as "first".

        Raises ValueError for parts that apply to the whole network.
        """
        if whole := sorted(part.slot for part in self.own if not part.per_layer):
            raise ValueError(
                f"{', '.join(whole)} cannot be set for single layers, only for the whole model"
            )
        return Change(at=((layers, self),))

    def on(self, layer: str, index: int) -> "Change":
        """The parts on one hidden layer, by its name and its index from 0.

        Raises ValueError for two parts of one slot.
        """
        joined = Change(*self.own)
        for layers, change in self.at:
            if layer in layers or (index == 0 and "first" in layers):
                joined |= change
        return joined

    def anywhere(self, kind: type[P]) -> P | None:
        """The part of this kind, on all hidden layers or on some; None if there is none.

        Raises ValueError for two such parts on different layers.
        """
        parts = [part for part in self.everywhere() if isinstance(part, kind)]
        if len(parts) > 1:
            raise ValueError(f"{parts[0].slot} can be set only once, for all layers or for some")
        return parts[0] if parts else None

    @property
    def fits(self) -> int:
        """How often `fit` is called, each time for all epochs of the training."""
        return max((part.fits for part in self.own), default=1)

    def before_last_fit(self, epochs: int) -> int:
        """The number of epochs, out of those of all fits, that precede the last fit."""
        return epochs - epochs // self.fits

    @property
    def grows(self) -> bool:
        """Whether a short training is identical to the beginning of a longer one."""
        return all(part.grows for part in self.own)

    def identity(self) -> list[Any]:
        """The change for JSON: its parts and their fields that are not None.

        Equal changes have equal identities. A new kind of part, or a new field that is None, leaves
        earlier identities unchanged.
        """
        parts = sorted(map(_identity, self.own), key=lambda part: part[0])
        return [*parts, *(["at", list(layers), change.identity()] for layers, change in self.at)]

    def part_classes(self) -> tuple[type, ...]:
        """The classes of all parts and of their fields, with their base classes, by name.

        `Part` itself is not among them, since what it defines does nothing.
        """
        classes = {kind for part in self.everywhere() for kind in _classes(part)}
        return tuple(sorted(classes, key=lambda kind: kind.__qualname__))


def class_named(name: str) -> type | None:
    """The class with this name in `part_classes`; None for a name unknown to the current code.

    It must be in an imported module of parts; the registry imports those of all techniques.
    """
    modules = sorted({kind.__module__ for kind in _kinds(Part)})
    classes = (getattr(sys.modules[module], name, None) for module in modules)
    return next((kind for kind in classes if isinstance(kind, type)), None)


def _kinds(kind: type[Part]) -> Iterator[type[Part]]:
    """All subclasses of a kind of part."""
    for derived in kind.__subclasses__():
        yield derived
        yield from _kinds(derived)


def _identity(value: Any) -> Any:
    """A part as [its class's name, {field: value}]; other values as in JSON."""
    if is_dataclass(value):
        by_field = {field.name: getattr(value, field.name) for field in fields(value)}
        given = {name: _identity(item) for name, item in by_field.items() if item is not None}
        return [type(value).__name__, given]
    if isinstance(value, tuple):
        return [_identity(item) for item in value]
    return value


def _classes(value: Any) -> Iterator[type]:
    """The class of a part, its base classes except `Part`, and those of its fields."""
    if isinstance(value, tuple):
        for item in value:
            yield from _classes(item)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (kind for kind in type(value).__mro__ if is_dataclass(kind) and kind is not Part)
        for field in fields(value):
            yield from _classes(getattr(value, field.name))
