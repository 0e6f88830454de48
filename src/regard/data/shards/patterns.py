"""Several addresses or paths in one text: `shards/{000000..000099}.tar`, `{train,val}.tar`."""

import re
from itertools import product

from regard.errors import DataError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST = 1_000_000


def has_pattern(text: str) -> bool:
    """Whether there are braces of a range or list in it."""
    return any(_RANGE.fullmatch(each) or "," in each for each in _BRACES.findall(text))


def expand(text: str) -> list[str]:
    """All that the pattern stands for, in order. Raises `DataError` for a range that runs backwards, or is too long.

    >>> expand("{08..10}.tar")
    ['08.tar', '09.tar', '10.tar']
    """
    parts = _BRACES.split(text)
    choices = [[part] if place % 2 == 0 else _choices(part, text) for place, part in enumerate(parts)]
    total = 1
    for each in choices:
        total *= len(each)
    if total > MOST:
        raise DataError(f"{text} stands for {total:,} shards, more than {MOST:,}; give parts of it")
    return ["".join(each) for each in product(*choices)]


def _choices(part: str, text: str) -> list[str]:
    match = _RANGE.fullmatch(part)
    if match is None:
        return part.split(",") if "," in part else [f"{{{part}}}"]
    first = int(match[1])
    last = int(match[2])
    if last < first:
        raise DataError(f"{text}: the range {part} runs backwards; give the smaller number first")
    if last - first >= MOST:
        raise DataError(f"{text}: the range {part} is of more than {MOST:,} shards; give parts of it")
    width = len(match[1]) if match[1].startswith("0") or len(match[1]) == len(match[2]) else 0
    return [f"{number:0{width}d}" for number in range(first, last + 1)]
