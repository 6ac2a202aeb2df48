"""The errors a user can cause and mend.

Each is a `ValueError` whose only argument is its message, so it survives pickling between processes (Ray pickles
whatever a worker raises). A message names the setting, the value and the way out, in one line.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user asked for that cannot be done as asked."""


class SettingError(UserError):
    """A setting of a spec, a study or a command line is unknown or out of its range."""


class DataError(UserError):
    """A corpus is missing, malformed, or shares strings between its splits."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or belongs to another spec."""


class TrackingError(UserError):
    """The tracking server cannot be reached or refuses what was sent."""


def did_you_mean(name: object, known: Iterable[str], parents: Iterable[str] = ()) -> str:
    """Returns the end of an error about an unknown name: the nearest known one, else all of them.

    Args:
        name: What was given.
        known: What could have been meant; none: the end is empty.
        parents: Path components in front of the known names.
    """
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    if close:
        return f"; did you mean {'.'.join([*parents, *close])}?"
    return f"; known: {', '.join(known)}" if known else ""
