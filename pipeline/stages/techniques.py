"""List the techniques with formula, source and search ranges."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from pipeline.models.architectures import Autoencoder, Cnn, Lstm, Mlp, Model
from pipeline.report import blocks
from pipeline.techniques.fit import misfit
from pipeline.techniques.ranges import Range
from pipeline.techniques.registry import TECHNIQUES, Technique

PAGE = Path("docs/techniques.md")
# Three hidden layers each: enough for every technique that fits the architecture.
EXAMPLES: Mapping[str, Model] = {
    "mlp": Mlp("mlp", (2, 2, 2)),
    "cnn": Cnn("cnn", (2, 2), hidden=(2,)),
    "lstm": Lstm("lstm", (2, 2), hidden=(2,)),
    "autoencoder": Autoencoder("autoencoder", (2,), code=2),
}


def main(argv: list[str]) -> None:
    """Prints the registry with the default ranges, which params.yaml can replace."""
    parser = argparse.ArgumentParser(prog="python -m pipeline techniques", description=__doc__)
    parser.add_argument("--docs", action="store_true", help=f"also write the table to {PAGE}")
    if parser.parse_args(argv).docs:
        blocks.replace(PAGE, "techniques", markdown())
    for name, technique in TECHNIQUES.items():
        print(f"{name}: {technique.summary}")
        print(f"  {technique.formula}" + (f"  ({technique.source})" if technique.source else ""))
        for hyperparameter, search_range in technique.search.items():
            print(f"  {hyperparameter}: {describe(search_range)}")
        print(f"  fits {', '.join(fits(technique))}")


def describe(search_range: Range) -> str:
    """A range in words, with its default if there is one.

    >>> describe(Range(1e-6, 0.1, log=True))
    '1e-06 to 0.1 (log)'
    """
    notes = [
        note
        for note, applies in (("whole", search_range.integer), ("log", search_range.log))
        if applies
    ]
    notes += [] if search_range.default is None else [f"default {search_range.default:g}"]
    ends = f"{search_range.low:g} to {search_range.high:g}"
    return f"{ends} ({', '.join(notes)})" if notes else ends


def fits(technique: Technique) -> list[str]:
    """The architectures that a technique fits."""
    change = technique.lowest
    return [name for name, model in EXAMPLES.items() if misfit(change, model) is None]


def markdown() -> str:
    """The registry as a table, for docs/techniques.md."""
    rows = [
        f"| `{name}` | {technique.summary} | {_searched(technique)} "
        f"| {', '.join(fits(technique))} |"
        for name, technique in TECHNIQUES.items()
    ]
    head = "| technique | what it is | searched by default | fits |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _searched(technique: Technique) -> str:
    return "; ".join(
        f"{name} {describe(search_range)}" for name, search_range in technique.search.items()
    )
