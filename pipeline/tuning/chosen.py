"""What the searches chose: tuned.json, which the tune stage writes."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

FILE = "tuned.json"


def read(folder: Path) -> dict[str, Any]:
    """The content of a data set's tuned.json. Raises UserError if the file is missing."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path} is missing; `python -m pipeline tune {folder.name}` makes it")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
