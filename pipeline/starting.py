"""How processes start: a stage's first seconds are spent on importing libraries."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Keras imports these, if they are there, for plots and wrappers that no worker needs.
UNNEEDED = ("matplotlib", "pandas", "sklearn")


@contextmanager
def importing() -> Iterator[None]:
    """For large imports: what they make stays for good, so no garbage is looked for in it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def without(names: tuple[str, ...]) -> Iterator[None]:
    """Packages of these names cannot be imported for now; those that are imported already stay."""
    hidden = {name: None for name in names if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None: Python's own way to say so
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
