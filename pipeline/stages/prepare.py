"""Split and scale a study's data into data/prepared/<study>.npz."""

import argparse
from pathlib import Path

from pipeline.config import loading
from pipeline.datasets import PARTS, PROTOCOLS, Dataset, save
from pipeline.datasets.sources import prepare

RAW = Path("data/raw")
PREPARED = Path("data/prepared")


def main(argv: list[str]) -> None:
    """Runs the stage. Raises UserError if the raw files are missing or damaged."""
    parser = argparse.ArgumentParser(prog="python -m pipeline prepare", description=__doc__)
    parser.add_argument("study", type=loading.named, help=loading.STUDY_HELP)
    name, settings = parser.parse_args(argv).study, loading.load()
    dataset = prepare(name, settings.study(name).data, settings.seed, RAW / name)
    save(dataset, PREPARED / f"{name}.npz")
    print(describe(dataset))


def describe(dataset: Dataset) -> str:
    """The sizes of a data set's parts, one line per protocol."""
    lines = [f"{dataset.name}: examples of shape {dataset.input_shape}, digest {dataset.digest}"]
    for protocol in PROTOCOLS:
        sizes = ", ".join(f"{dataset.rows(protocol, part, 0).size} {part}" for part in PARTS)
        leak = "; leaks" if dataset.leaks(protocol) else ""
        lines.append(f"  {protocol:<9} {dataset.draws(protocol)} draw(s) of {sizes}{leak}")
    return "\n".join(lines)
