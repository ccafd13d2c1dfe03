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
from collections.abc import Iterable, Iterator
from functools import cache
from urllib.parse import quote, quote_plus, unquote

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

    def __init__(self, message: object) -> None:
        super().__init__(redacted(str(message)))


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: suggestion and choices.

    >>> "unknown stage 'trian'" + nearest("trian", ["tune", "train"])
    "unknown stage 'trian'; did you mean 'train'? expected one of tune, train"
    """
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} expected one of {', '.join(names)}"


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
