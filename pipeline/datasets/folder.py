"""A folder of pictures with a sub-folder for each class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.datasets import Dataset, Scaling
from pipeline.datasets.own import FolderData
from pipeline.datasets.splits import digests, no_units, units_of
from pipeline.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
BRIGHTEST = 255
LISTED = 5  # names in a message
# Modes of Pillow that it converts to 8 bits without loss of what is seen.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "La", "RGBa", "LAB")

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder: their files, in the order of their names, and their classes."""

    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    ignored: tuple[Path, ...]  # other files


def find(folder: Path) -> Pictures:
    """The pictures in the sub-folders. Raises UserError if there are fewer than two classes."""
    classes = [path for path in sorted(folder.iterdir()) if path.is_dir() and _seen(path)]
    found = [(path, each.name) for each in classes for path in _files(each)]
    pictures = [(path, name) for path, name in found if path.suffix.lower() in SUFFIXES]
    ignored = [path for path, _ in found if path.suffix.lower() not in SUFFIXES]
    ignored += [path for path in sorted(folder.iterdir()) if path.is_file() and _seen(path)]
    names = {name for _, name in pictures}
    if empty := [each.name for each in classes if each.name not in names]:
        raise UserError(
            f"{folder}: no pictures ({', '.join(SUFFIXES)}) in {_some(empty)}; remove empty folders"
        )
    if len(names) < 2:
        raise UserError(
            f"{folder} must have a sub-folder with pictures for each of two or more classes, but "
            f"has {len(names)} of them"
        )
    return Pictures(
        tuple(path for path, _ in pictures), tuple(name for _, name in pictures), tuple(ignored)
    )


def _seen(path: Path) -> bool:
    """Whether a file is meant: not hidden, nor what some systems leave behind."""
    return not path.name.startswith(".") and path.name not in ("__MACOSX", "Thumbs.db")


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not _seen(path):
            continue
        if path.is_dir():
            raise UserError(f"{path}: a folder within the folder of a class; move its pictures up")
        yield path


def _some(names: Sequence[object]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(str, names[:LISTED])) + more


@dataclass(frozen=True)
class Look:
    """What the pictures are like."""

    sizes: tuple[tuple[int, int], ...]  # (height, width) of each
    colour: bool  # whether any has colour


def look(paths: Sequence[Path]) -> Look:
    """Sizes and colour of all pictures, each decoded once.

    Raises UserError with the paths of those that cannot be read.
    """
    from PIL import Image

    sizes, colour, broken = [], False, []
    for path in paths:
        try:
            with Image.open(path) as picture:
                picture.load()
                if picture.mode not in MODES:
                    raise ValueError(f"unknown kind of pixels {picture.mode!r}")
                sizes.append((picture.height, picture.width))
                colour = colour or _has_colour(picture)
        except Exception as error:  # decoders raise errors of all kinds
            broken.append(f"{path} ({error})")
    if broken:
        raise UserError(
            f"{len(broken)} pictures cannot be read: {_some(broken)}; mend or remove them"
        )
    return Look(tuple(sizes), colour)


def _has_colour(picture: object) -> bool:
    pixels = np.asarray(picture.convert("RGB"))  # type: ignore[attr-defined]
    return bool((pixels != pixels[..., :1]).any())


def decoded(paths: Sequence[Path], height: int, width: int, colour: bool) -> Bytes:
    """The pictures, (n, height, width) uint8, or (n, height, width, 3) with colour.

    Transparent parts are white. Raises UserError for one that cannot be read.
    """
    from PIL import Image

    pictures = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                pictures.append(_decoded(picture, height, width, colour))
        except Exception as error:
            raise UserError(f"{path} cannot be read: {error}; mend or remove it") from error
    return np.stack(pictures)


def _decoded(picture: object, height: int, width: int, colour: bool) -> Bytes:
    from PIL import Image

    assert isinstance(picture, Image.Image)
    if picture.mode not in MODES:
        raise ValueError(f"unknown kind of pixels {picture.mode!r}")
    if "transparency" in picture.info or picture.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        front = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", front.size, "white"), front)
    plain_picture = picture.convert("RGB" if colour else "L")
    if plain_picture.size != (width, height):
        plain_picture = plain_picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(plain_picture, np.uint8)


def prepare(study: str, data: FolderData, seed: int) -> Dataset:
    """The pictures of `data.input`, scaled to [0, 1] and split as the section says.

    Raises UserError for pictures that cannot be read, and for other classes than the section's.
    """
    found = find(Path(data.input))
    if unknown := sorted(set(found.labels) - {*data.classes}):
        raise UserError(
            f"{data.input} has the folder {unknown[0]!r}; expected one of "
            f"{', '.join(data.classes)}, the classes in params.yaml: studies.{study}.data"
        )
    pixels = decoded(found.paths, data.height, data.width, data.colour)
    y = np.array([data.classes.index(label) for label in found.labels], np.int32)
    units = units_of([digests(pixels)]) if data.duplicates == "together" else no_units(len(y))
    rows = data.part_rows(y, units, seed)
    return Dataset(
        name=study,
        n_classes=data.n_classes,
        x=(pixels / BRIGHTEST).astype(np.float32),
        y=y,
        splits={"article": rows, "leak_free": rows},
        scaling=Scaling.by(BRIGHTEST),
        task=data.trained_for,
        classes=data.classes,
    )
