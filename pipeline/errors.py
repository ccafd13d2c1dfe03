"""The error that is shown to users without a traceback, and wording that errors share.

Passwords and tokens stand in no error, and in nothing else that is shown or kept: `redacted`
removes them. They come in by the environment, in addresses such as MLFLOW_TRACKING_URI, and
libraries quote them whole, encoded, or in the pieces into which a URL with `/` or `@` in it falls.
"""

import base64
import difflib
import html
import json
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from urllib.parse import quote, quote_plus, unquote

LONGEST = 400  # characters of a message
MOST_OF_VALUE = 90  # characters of what was received
MOST_OF_CHOICES = 160  # characters of a list of choices in it
ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "DATA_MIRROR")
WORDS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN")
SHORTEST = 4  # characters; anything shorter is in other words too
HIDDEN = "***"
# A user's part of an address, up to the last @ of the word; a path starts with a third slash.
_USER = re.compile(r"(?<!/)//(?!/)\S*@")


class UserError(Exception):
    """A mistake that the user can correct.

    The message says what was expected, what was received, and where, but no password.
    """

    code = 2  # of the command's exit

    def __init__(self, message: object) -> None:
        super().__init__(redacted(str(message)))


class CommandError(UserError):
    """A command that another one called has failed, for a reason that it has told itself."""

    code = 1


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: what is odd in it, suggestion and choices.

    >>> "unknown stage 'trian'" + nearest("trian", ["tune", "train"])
    "unknown stage 'trian'; did you mean 'train'? expected one of tune, train"
    >>> "unknown stage 'tr\\u0430in'" + nearest("tr\u0430in", ["train"])
    "unknown stage 'tr\\u0430in' (with U+0430); did you mean 'train'? expected one of train"
    """
    names = list(known)
    close = difflib.get_close_matches(word[:LONGEST], names, n=1)
    odd = next((letter for letter in word if not letter.isascii()), None)
    told = f" (with U+{ord(odd):04X})" if odd is not None and close else ""
    hint = f"{told}; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} expected one of {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """The first names, as many as a message has place for.

    >>> listed([str(number) for number in range(100, 200)])[-14:]
    ' and 68 others'
    """
    told, length = 0, 0
    while told < len(names) and (length := length + len(names[told]) + 2) <= MOST_OF_CHOICES:
        told += 1
    others = len(names) - told
    return ", ".join(names[:told]) + (f" and {others} others" if others else "")


def shown(value: object) -> str:
    """A value that was received, cut to what a message has place for.

    >>> shown("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    if isinstance(value, int) and value.bit_length() > 1000:  # which Python may refuse to spell
        return f"a whole number of {value.bit_length()} bits"
    text = _SHORT.repr(value)
    return text if len(text) <= MOST_OF_VALUE else f"{text[: MOST_OF_VALUE - 4]} ..."


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist = 4, 4, 8
_SHORT.maxstring = _SHORT.maxother = 62


def redacted(text: str) -> str:
    """The text without the user's part of addresses, and without the environment's secrets.

    >>> redacted("no answer from http://user:a/b@c@host/api")
    'no answer from http://host/api'
    """
    given = tuple(os.environ.get(name, "") for name in (*ADDRESSES, *WORDS))
    hidden = _secrets(given)
    if hidden is not None:
        text = hidden.sub(HIDDEN, text)
    return _USER.sub("//", text)


@cache
def _secrets(given: tuple[str, ...]) -> re.Pattern[str] | None:
    """What matches any form of the secrets in these values of `ADDRESSES` and `WORDS`."""
    addresses, words = given[: len(ADDRESSES)], given[len(ADDRESSES) :]
    forms = {form for word in words for form in _forms("", word)}
    for address in addresses:
        _, _, rest = address.partition("://")
        user, at, _ = rest.rpartition("@")
        if at and not rest.startswith("/"):  # as the path of a file does
            name, colon, password = user.partition(":")
            forms |= {user, *_forms(name if colon else "", password if colon else name)}
    long = sorted((form for form in forms if len(form) >= SHORTEST), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, long)), re.IGNORECASE) if long else None


def _forms(user: str, password: str) -> Iterator[str]:
    """A password as it may stand in a text: encoded, escaped, in a header, or in pieces."""
    for word in {password, unquote(password)}:
        yield from (word, quote(word), quote(word, safe=""), quote_plus(word))
        yield from (repr(word)[1:-1], json.dumps(word)[1:-1], html.escape(word))
        yield base64.b64encode(f"{unquote(user)}:{word}".encode()).decode()
        yield from re.split(r"[/@?#:\\\[\]\s]+", word)
