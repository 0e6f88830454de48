"""What can go wrong, in one line each: what was wrong, what came, what is allowed, what to do.

Every error that a user can cause is a `RegardError`. The command line prints its message without a traceback
(`--debug` shows it) and exits with `exit_code`: 1 when the work failed, 2 when the command was wrong.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class RegardError(Exception):
    """The base of all errors of this package; its message is one line for a person."""

    exit_code = 1


class UsageError(RegardError):
    """The command or call was wrong: an unknown name, a value out of range, options that exclude each other."""

    exit_code = 2


class DataError(RegardError):
    """Pictures, labels or tables that cannot be used as they are."""


class NetworkError(RegardError):
    """A network, checkpoint or run that cannot be loaded or does not fit."""


class OutputError(RegardError):
    """A place that cannot be written: it exists already, is read-only, or the disk is full."""


def unknown(kind: str, name: object, allowed: Iterable[str], hint: str = "") -> UsageError:
    """The error for a name that is not in a list, with the nearest names offered.

    `kind` is the word for such a name ("method"), `name` what the user wrote, `allowed` the names there are; `hint`
    is a last sentence (which command lists them all). Up to eight allowed names are spelled out.

    >>> print(unknown("method", "atention", ["attention", "rollout"], "`regard methods` lists them."))
    unknown method 'atention'; did you mean 'attention'? `regard methods` lists them.
    """
    names = sorted(map(str, allowed))
    near = get_close_matches(str(name), names, n=3, cutoff=0.5)
    if near:
        offer = f"did you mean {' or '.join(map(repr, near))}?"
    elif len(names) <= 8:
        offer = f"there {'is' if len(names) == 1 else 'are'}: {', '.join(names) or 'none'}."
    else:
        offer = f"there are {len(names)}, from {names[0]!r} to {names[-1]!r}."
    return UsageError(" ".join(filter(None, [f"unknown {kind} {str(name)!r};", offer, hint])))
