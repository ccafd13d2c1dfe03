"""The one error that is shown to a user without a traceback, and words that errors share."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: the message says what was expected, received, and where."""


def nearest(word: str, known: Iterable[str]) -> str:
    """How a message about an unknown word ends: `; did you mean …? expected one of …`."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} expected one of {', '.join(names)}"
