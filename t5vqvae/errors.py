"""The errors that code expects: what a user, a file, a disk, memory, a server or an environment can do.

Each is a `ValueError` whose only argument is its message, so it survives pickling between processes (Ray pickles
whatever a worker raises). A message names the setting, the value and the way out, in one line. Any other exception is
a fault of this project.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class UserError(ValueError):
    """Something the user asked for that cannot be done as asked.

    Attributes:
        status: Exit status of a command that ends so: 2, what the user gave; 1, the environment or a result.
    """

    status: ClassVar[int] = 2


class EnvironmentFault(UserError):  # noqa: N818
    """The machine stands in the way: a file, a disk, memory, a server; the same command may work later."""

    status = 1


class DiskError(EnvironmentFault):
    """A disk is full, read-only, or refuses a path."""


class DamagedFileError(EnvironmentFault):
    """A file of the state folder is not what was written there."""


class SettingError(UserError):
    """A setting of a spec, a study or a command line is unknown or out of its range."""


class DataError(UserError):
    """A corpus is missing, malformed, or shares strings between its splits."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or belongs to another spec."""


class TrackingError(EnvironmentFault):
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
