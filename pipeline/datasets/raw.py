"""Fills data/raw/<study> with the original files, checked and complete."""

import json
import os
import re
import shutil
from pathlib import Path

from pipeline.datasets.download import ChecksumError, DownloadError, Patience, check, download
from pipeline.datasets.origins import Origin
from pipeline.errors import UserError
from pipeline.files import check_place, replace_text

SOURCE = "SOURCE.json"


def fetch(
    name: str,
    origin: Origin,
    raw: Path,
    partial: Path,
    mirror: str | None = None,
    *,
    patience: Patience | None = None,
) -> None:
    """Put the original files of a study and SOURCE.json into the folder `raw`.

    `partial` collects files until all are complete; it must be on the same disk as `raw` and
    outside it. `mirror`, a folder or an http(s) URL, replaces the public mirrors. Files in `raw`
    with the right checksums are kept, and those that another study has in its folder beside `raw`
    are copied.

    Raises UserError if no source delivers a file, or if a folder cannot be written.
    """
    try:
        for folder in (partial, raw):
            check_place(folder / SOURCE)
        partial.mkdir(parents=True, exist_ok=True)
        _collect(name, origin, raw, partial, mirror, patience or Patience())
        replace_text(partial / SOURCE, _source_json(name, origin))
        _move(partial, raw, [*origin.files, SOURCE])
    except OSError as error:
        raise UserError(f"cannot write {name} into {partial} and {raw}: {error}") from error


def _collect(
    name: str, origin: Origin, raw: Path, partial: Path, mirror: str | None, patience: Patience
) -> None:
    """Put all files that `raw` lacks into `partial`, complete and checked."""
    for file, sha256 in origin.files.items():
        if _intact(raw / file, sha256) or _intact(partial / file, sha256):
            continue
        (partial / file).unlink(missing_ok=True)  # damaged, or a link to elsewhere
        if _copied(raw, partial / file, sha256):
            continue
        try:
            _obtain_from_any(_locations(origin, file, mirror), partial / file, sha256, patience)
        except DownloadError as error:
            layout = f"<mirror>/{origin.folder}/{file}"
            raise UserError(
                f"could not download {file} of {name} from any source:\n{error}\n"
                f"{_remedy(name, layout, mirror)}\n"
                f"Complete files are kept in {partial}; the next attempt fetches only the others."
            ) from None


def _copied(raw: Path, target: Path, sha256: str) -> bool:
    """Copy the file from another study's folder beside `raw`; whether there was one."""
    for path in sorted(raw.parent.glob(f"*/{target.name}")):
        if _intact(path, sha256):
            shutil.copyfile(path, target)
            return True
    return False


def _intact(path: Path, sha256: str) -> bool:
    try:
        check(path, sha256)
    except (FileNotFoundError, ChecksumError):
        return False
    return True


def _locations(origin: Origin, file: str, mirror: str | None) -> list[str]:
    if mirror is None:
        return [f"{folder}/{file}" for folder in origin.mirrors]
    if not _is_url(mirror) and not Path(mirror).expanduser().is_dir():
        raise UserError(
            f"`DATA_MIRROR` must be an existing folder or an http(s) URL, but got {mirror!r}"
        )
    return [f"{mirror.rstrip('/')}/{origin.folder}/{file}"]


def _is_url(source: str) -> bool:
    return re.match("https?://[^/]", source) is not None


def _obtain_from_any(sources: list[str], target: Path, sha256: str, patience: Patience) -> None:
    """Write the file from the first source that delivers it.

    Raises DownloadError with the error of every source.
    """
    failures = []
    for source in sources:
        try:
            _obtain(source, target, sha256, patience)
        except (DownloadError, ChecksumError) as error:
            failures.append(f"  {source}\n    {error}")
        else:
            return
    raise DownloadError("\n".join(failures))


def _obtain(source: str, target: Path, sha256: str, patience: Patience) -> None:
    """Write the file from one source. Raises DownloadError or ChecksumError."""
    if _is_url(source):
        download(source, target, sha256, patience)
        return
    original = Path(source).expanduser()
    try:
        check(original, sha256)
        shutil.copyfile(original, target)
    except OSError as error:
        raise DownloadError(error.strerror or str(error)) from error


def _remedy(name: str, layout: str, mirror: str | None) -> str:
    if mirror is None:
        return (
            "Without internet, set DATA_MIRROR to a folder or an http(s) URL with the files as "
            f"{layout}:\n  DATA_MIRROR=/path/to/mirror python -m pipeline fetch {name}"
        )
    return (
        f"DATA_MIRROR is set, so no other source was tried; it must have the files as {layout}.\n"
        "Unset it to download from the public mirrors."
    )


def _source_json(name: str, origin: Origin) -> str:
    """The content of SOURCE.json, which does not depend on the mirror or the time."""
    content = {
        "study": name,
        "origin": origin.origin,
        "licence": origin.licence,
        "citation": origin.citation,
        "sha256_decompressed": dict(origin.files),
    }
    return json.dumps(content, indent=2) + "\n"


def _move(partial: Path, raw: Path, files: list[str]) -> None:
    """Move complete files into `raw`, SOURCE.json last, and delete `partial`."""
    raw.mkdir(parents=True, exist_ok=True)
    for file in files:
        if (partial / file).exists():
            os.replace(partial / file, raw / file)
    shutil.rmtree(partial)
