"""Add a study of your own data: a table, a folder of pictures, an .npz file, or sklearn:NAME.

Looks at the data, says what it decides for each column, copies them to data/own/NAME and writes a
section of params.yaml, where every decision can be changed. Then `dvc repro report@NAME` answers.
"""

import argparse
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config import loading, rules, sizing, writing
from pipeline.config.sizing import Shape, Sizes
from pipeline.datasets import Dataset, Part, intake
from pipeline.datasets.inference import TASKS
from pipeline.datasets.intake import Asked, Intake
from pipeline.datasets.section import Section
from pipeline.datasets.sources import prepare
from pipeline.datasets.task import SCORES
from pipeline.errors import UserError
from pipeline.execution import devices
from pipeline.files import replace_text

_log = logging.getLogger(__name__)

OWN = Path("data/own")
TECHNIQUES = ("none", "l1", "l2", "dropout", "early_stopping_loss")
BY_ROWS = ("none", "l2", "dropout", "early_stopping_loss")  # compared at each number of rows
OUTCOMES = {  # score → what else is compared
    "log_loss": ("test_accuracy", "calibration_error"),
    "rmse": ("test_mae",),
    "mae": ("test_rmse",),
    "r2": ("test_rmse", "test_mae"),
}
MINUTES = 3.0
LARGE = 50.0  # MB of text, from which on time and memory are told first
PACKED = 4.0  # times as large as a compressed file
MEMORY, SECONDS = 11.0, 0.5  # per MB of text: MB at most, and seconds


def main(argv: list[str]) -> None:
    """Adds a study. Raises UserError, and changes nothing, for data that cannot be one."""
    arguments = _parser().parse_args(argv)
    settings = loading.load()
    name = _name(arguments.name, arguments.source)
    folder, scratch = OWN / name, OWN / f".partial-{name}"
    if size := _size(Path(arguments.source)):
        print(size, flush=True)
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        found = intake.look(arguments.source, _asked(arguments), scratch / "shipped")
        copied = _copied(found, scratch / "data")
        shape, cores = Shape(found.rows, found.inputs, found.outputs), devices.cores()
        sizes = sizing.sizes(shape, len(TECHNIQUES), arguments.minutes, cores)
        sections = {name: _section(found, shape, sizes, folder)}
        if arguments.rows:
            sections |= {f"{name}_rows": _by_rows(found, shape, sizes, folder)}
        comment = f"{Path(arguments.source).name}: {found.rows:,} examples; written by new-study"
        path = Path(loading.FILE)
        text = writing.checked(path, sections, comment, replaces=arguments.replace)
        data = loading.parse(loading.content(text), str(path)).study(name).data
        prepared = _tried(name, data, copied, settings.seed)
        shutil.rmtree(folder, ignore_errors=True)
        copied.replace(folder)
        replace_text(path, text)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    track(folder)
    seconds = sizes.seconds(shape, len(TECHNIQUES), cores)
    print("\n".join(told(name, found, prepared, sizes, seconds, cores)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline new-study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scores = "; ".join(f"{task}: {', '.join(SCORES[task])}" for task in TASKS)
    add = parser.add_argument
    add("source", help="a .csv, .tsv, .csv.gz or .parquet file, a folder, .npz, or sklearn:wine")
    add("--target", help="the column that is predicted; of a table always needed")
    add("--name", help="of the study; default: that of the file")
    add("--task", choices=TASKS, help="default: by the values of the target")
    add("--score", help=f"by which everything is chosen and compared; {scores}")
    add("--positive-class", metavar="CLASS", help="of two classes, the one that is looked for")
    add("--group", metavar="COLUMN", help="rows with the same value stay in one part")
    add("--time", metavar="COLUMN", help="rows are split in this order: the test rows are latest")
    add("--weight", metavar="COLUMN", help="of a row in the loss and in the scores")
    add("--drop", type=_columns, default=(), metavar="A,B", help="columns to leave out")
    add("--keep", type=_columns, default=(), metavar="A,B", help="columns to keep nevertheless")
    add("--category", type=_columns, default=(), metavar="A,B", help="columns of categories")
    add("--test", type=Path, metavar="FILE", help="a table whose rows are the test rows")
    add("--minutes", type=_minutes, default=MINUTES, help=f"to be used; default: {MINUTES:g}")
    add("--rows", action="store_true", help="also a study NAME_rows: the gain by training rows")
    add("--replace", action="store_true", help="replace the study of this name")
    return parser


def _columns(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= 10_000:
        raise argparse.ArgumentTypeError(f"expected minutes above 0, but got {text!r}")
    return minutes


def _asked(arguments: argparse.Namespace) -> Asked:
    return Asked(
        target=arguments.target,
        task=arguments.task,
        score=arguments.score,
        positive_class=arguments.positive_class,
        group=arguments.group,
        time=arguments.time,
        weight=arguments.weight,
        drop=arguments.drop,
        keep=arguments.keep,
        categories=arguments.category,
        test=arguments.test,
    )


def _name(name: str | None, source: str) -> str:
    """The study's name: as asked for, or made of the file's. Raises UserError for an invalid one.

    >>> _name(None, "/tmp/My data (2).csv.gz")
    'My_data_2'
    """
    if name is None:
        stem = Path(source.removeprefix(intake.SHIPPED)).name.partition(".")[0]
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")
        name = name if re.match("[A-Za-z]", name) else f"study_{name}".rstrip("_")
        name = name[: rules.LONGEST_NAME]
    for problem in rules.name_problems([name]):
        raise UserError(f"`--name`: {problem}")
    return name


def _size(path: Path) -> str | None:
    """What it takes to look at a large file; None for a small one."""
    packed = path.suffix in (".gz", ".parquet", ".npz")
    megabytes = path.stat().st_size / 1e6 * (PACKED if packed else 1) if path.is_file() else 0
    if megabytes < LARGE:
        return None
    return (
        f"{path} has about {megabytes:,.0f} MB of text; looking at it takes up to"
        f" {megabytes * MEMORY / 1e3:.1f} GB of memory and about {megabytes * SECONDS / 60:.1f}"
        " minutes"
    )


def _section(found: Intake, shape: Shape, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """The study as params.yaml has it."""
    rows = dict(sizing.rows_of(sizes, shape))
    if found.section.get("time"):
        rows["splits"] = "in_order"
    if found.tests:
        rows |= {"splits": "repeated", "test": "file"}
    outcomes = OUTCOMES.get(found.section["score"], ("test_loss", "calibration_error"))
    source, *others = found.section.items()
    data = dict([source, ("input", folder.as_posix()), *others]) | rows
    return {"data": data, **sizing.sections(sizes, TECHNIQUES, outcomes)}


def _by_rows(found: Intake, shape: Shape, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """The study of the gain against training rows."""
    data = {**_section(found, shape, sizes, folder)["data"], "draws": sizing.FEW}
    return {"data": data, **sizing.rows_sections(sizes, BY_ROWS)}


def _copied(found: Intake, folder: Path) -> Path:
    """The folder, filled with the data's files. Raises UserError if one cannot be read."""
    for name, path in found.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            raise UserError(f"cannot copy {path} to {target}: {error.strerror}") from None
    return folder


def _tried(name: str, data: Section, folder: Path, seed: int) -> Dataset:
    """The data, prepared from the copy, so that what fails there fails before anything changes."""
    section: Any = type(data)
    own = section(**{**_fields(data), "input": folder.as_posix()})
    return prepare(name, own, seed, folder)


def _fields(data: Section) -> Mapping[str, Any]:
    return {name: value for name, value in vars(data).items() if not name.startswith("_")}


def track(folder: Path) -> None:
    """Puts the folder under DVC, so that it can be pushed; without DVC and git there is nothing."""
    if not (Path(".dvc").is_dir() and Path(".git").exists()):
        return
    command = [sys.executable, "-m", "dvc", "add", "--quiet", folder.as_posix()]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        _log.warning("`dvc add %s` failed: %s", folder, finished.stderr.strip())


def told(
    name: str, found: Intake, data: Dataset, sizes: Sizes, seconds: float, cores: int
) -> list[str]:
    """What is printed: what was decided, how rows are split, how long it takes, how to go on."""
    uses: Mapping[Part, str] = {"train": "to train", "val": "to choose", "test": "to test"}
    parts = ", ".join(
        f"{data.rows('leak_free', part, 0).size:,} {use}" for part, use in uses.items()
    )
    classes = [f"classes: {', '.join(f'{each} ({n:,})' for each, n in found.counts.items())}"]
    on = "core" if cores == 1 else "cores"
    return [
        f"{name}: {found.rows:,} examples, {found.section['task']} by {found.section['score']}",
        *(classes if found.counts else []),
        *(f"  {line}" for line in found.decisions),
        *(f"  {note}" for note in found.notes),
        f"{sizes.replicates} replicates, each with {parts} and a search of its own;"
        f" {sizes.trials} trials for each of {', '.join(TECHNIQUES)}; {sizes.epochs} epochs",
        f"about {seconds / 60:.1f} minutes on {cores} {on}; everything is in params.yaml:"
        f" studies.{name}",
        f"next: dvc repro report@{name}",
    ]
