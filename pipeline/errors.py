"""The error that is shown to users without a traceback, and wording that errors share."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can correct.

    The message says what was expected, what was received, and where.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: suggestion and choices.

    >>> "unknown stage 'trian'" + nearest("trian", ["tune", "train"])
    "unknown stage 'trian'; did you mean 'train'? expected one of tune, train"
    """
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} expected one of {', '.join(names)}"
