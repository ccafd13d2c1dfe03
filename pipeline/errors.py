"""The one error that is shown to a user without a traceback."""


class UserError(Exception):
    """Something the user can mend: the message says what was expected, received, and where."""
