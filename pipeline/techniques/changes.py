"""What a technique changes: a set of parts that can be joined, placed and named.

A combination of techniques is the union of their changes. `models` lets the parts enter a model,
`trainer` a training; neither knows a single one.
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
    """Parts of a change, at most one of each slot; without any it is the baseline.

    >>> Change(Dropout(0.25)) | Change(KernelPenalty(Penalty(l2=1e-4))).only("first")

    Raises ValueError for parts of one slot, and for parts that exclude each other.
    """

    own: tuple[Part, ...]  # of the whole network and all its layers, in the order they enter
    at: At  # names of hidden layers or "first", and what changes there

    def __init__(self, *parts: Part, at: At = ()) -> None:
        ordered = sorted(parts, key=lambda part: (part.order, part.slot))
        object.__setattr__(self, "own", tuple(ordered))
        object.__setattr__(self, "at", at)
        slots = [part.slot for part in parts]
        if twice := sorted({slot for slot in slots if slots.count(slot) > 1}):
            raise ValueError(f"two techniques both change {', '.join(twice)}")
        for part in self.own:
            for other in self.own if part.per_layer else self.everywhere():
                if problem := part.clash(other):
                    raise ValueError(problem)

    def __or__(self, other: "Change") -> "Change":
        """Both changes at once. Raises ValueError where both have a part of one slot."""
        return Change(*self.own, *other.own, at=self.at + other.at)

    def parts(self) -> Mapping[str, Part]:
        """Slot → part, of what is not on single layers only."""
        return {part.slot: part for part in self.own}

    def everywhere(self) -> Iterator[Part]:
        """All parts, those on single layers too."""
        yield from self.own
        for _, change in self.at:
            yield from change.everywhere()

    def get(self, kind: type[P]) -> P | None:
        """The part of this kind that is not on single layers only; None where there is none."""
        return next((part for part in self.own if isinstance(part, kind)), None)

    def without(self, kind: type[Part]) -> "Change":
        """The same change but for parts of this kind."""
        return Change(*(part for part in self.own if not isinstance(part, kind)), at=self.at)

    def only(self, *layers: str) -> "Change":
        """The same change on some of the hidden layers: their names, or "first".

        Raises ValueError where it has parts that are the whole network's.
        """
        if whole := sorted(part.slot for part in self.own if not part.per_layer):
            raise ValueError(f"{', '.join(whole)} cannot be set for single layers")
        return Change(at=((layers, self),))

    def on(self, layer: str, index: int) -> "Change":
        """What there is on one hidden layer, by its name and its index from 0.

        Raises ValueError where two parts of one slot meet.
        """
        joined = Change(*self.own)
        for layers, change in self.at:
            if layer in layers or (index == 0 and "first" in layers):
                joined |= change
        return joined

    def anywhere(self, kind: type[P]) -> P | None:
        """The part of this kind, be it on all hidden layers or on some; None where there is none.

        Raises ValueError where it is there twice, for layers that each have their own.
        """
        there = [part for part in self.everywhere() if isinstance(part, kind)]
        if len(there) > 1:
            raise ValueError(
                f"{there[0].slot} can have one value only, be it on all layers or on some"
            )
        return there[0] if there else None

    @property
    def fits(self) -> int:
        """How often `fit` is called in a row, each time for a training's epochs."""
        return max((part.fits for part in self.own), default=1)

    def before_last_fit(self, epochs: int) -> int:
        """Of all calls' epochs, those of all but the last."""
        return epochs - epochs // self.fits

    @property
    def grows(self) -> bool:
        """Whether a short training is how a longer one begins."""
        return all(part.grows for part in self.own)

    def identity(self) -> list[Any]:
        """What the change is, for JSON: the parts that are there, and their fields that are.

        Equal changes have equal identities. A new kind of part, or a new field that is None,
        changes none that was there before.
        """
        parts = sorted(map(_identity, self.own), key=lambda part: part[0])
        return [*parts, *(["at", list(layers), change.identity()] for layers, change in self.at)]

    def part_classes(self) -> tuple[type, ...]:
        """The classes of the parts, those inside other parts and on single layers too; by name.

        `Part` itself is none of them: what a part inherits from it does nothing.
        """
        classes = {kind for part in self.everywhere() for kind in _classes(part)}
        return tuple(sorted(classes, key=lambda kind: kind.__qualname__))


def class_named(name: str) -> type | None:
    """The class that `part_classes` names so; None for a name that today's code does not know.

    Of the parts whose modules are imported, as those of all techniques are by the registry.
    """
    modules = sorted({kind.__module__ for kind in _kinds(Part)})
    classes = (getattr(sys.modules[module], name, None) for module in modules)
    return next((kind for kind in classes if isinstance(kind, type)), None)


def _kinds(kind: type[Part]) -> Iterator[type[Part]]:
    """All classes that derive from a kind of part."""
    for derived in kind.__subclasses__():
        yield derived
        yield from _kinds(derived)


def _identity(value: Any) -> Any:
    """A part as [its class's name, {field: value}]; other values as JSON has them."""
    if is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        given = {name: _identity(item) for name, item in held.items() if item is not None}
        return [type(value).__name__, given]
    if isinstance(value, tuple):
        return [_identity(item) for item in value]
    return value


def _classes(value: Any) -> Iterator[type]:
    """The class of a part, those that it derives from but for `Part`, and those of its fields."""
    if isinstance(value, tuple):
        for item in value:
            yield from _classes(item)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (kind for kind in type(value).__mro__ if is_dataclass(kind) and kind is not Part)
        for field in fields(value):
            yield from _classes(getattr(value, field.name))
