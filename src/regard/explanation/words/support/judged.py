"""Words whose truth is known, with their checks: what a support model is fitted to, and what benches keep."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regard.errors import DataError, UsageError
from regard.explanation.words.support.kinds import KINDS
from regard.files import reading, write_file

ERRORS = ("natural", "planted")
"""Whose the errors are that a word stands for: the captioner's own, or exchanged in a true caption."""
CONDITIONS = ("plain", "occluded", "cropped", "held-out", "early")
"""How natural errors came about: as it is, hidden or cut scenes, combinations that no training had, training stopped
early."""
_CHECK = "check_"
_TEXTS = ("unit", "text", "kind", "errors", "condition", "network")


@dataclass(frozen=True)
class JudgedWord:
    """A word, whether it is `right`, and its `checks` by name, NaN or missing where it has none.

    `unit` is the sentence, by which words are drawn again and left out together; `network` is the hash of the weights
    that the checks are of. Raises `UsageError` for a kind, errors or a condition that there is none of.

    >>> JudgedWord("17", "cat", "noun", True, {"log_probability": -0.25}).condition
    'plain'
    """

    unit: str
    text: str
    kind: str
    right: bool
    checks: Mapping[str, float] = field(hash=False)
    errors: str = "natural"
    condition: str = "plain"
    network: str = ""

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("kind", self.kind, KINDS),
            ("errors", self.errors, ERRORS),
            ("condition", self.condition, CONDITIONS),
        ):
            if value not in allowed:
                raise UsageError(f"{what} {value!r} is none of a judged word; give one of {', '.join(allowed)}")


def write_judged(file: Path | str, words: Iterable[JudgedWord]) -> None:
    """Words as a CSV file, a row for each, with a column `check_NAME` for every check that one of them has."""
    listed = list(words)
    names = columns_of(listed)
    rows = io.StringIO(newline="")
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow([*_TEXTS, "right", *(f"{_CHECK}{name}" for name in names)])
    for word in listed:
        values = (word.checks.get(name, math.nan) for name in names)
        texts = [getattr(word, name) for name in _TEXTS]
        writer.writerow(
            [*texts, int(word.right), *("" if math.isnan(value) else repr(float(value)) for value in values)]
        )
    write_file(file, rows.getvalue())


def read_judged(file: Path | str) -> list[JudgedWord]:
    """What `write_judged` wrote. Raises `DataError` for another file."""
    file = Path(file)
    with reading(file, "write the words again, or restore it"), file.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        lacking = {*_TEXTS, "right"} - {*(rows.fieldnames or ())}
        if lacking:
            raise DataError(
                f"{file} has no column {', '.join(sorted(lacking))}, so it holds no judged words; give a file that does"
            )
        try:
            return [_word(row) for row in rows]
        except UsageError as error:
            raise DataError(f"{file} is of another regard: {error}") from error


def _word(row: Mapping[str, str]) -> JudgedWord:
    checks = {
        name.removeprefix(_CHECK): float(value) if value else math.nan
        for name, value in row.items()
        if name.startswith(_CHECK)
    }
    return JudgedWord(right=bool(int(row["right"])), checks=checks, **{name: row[name] for name in _TEXTS})


def columns_of(words: Sequence[JudgedWord]) -> tuple[str, ...]:
    """The names of all checks that one of the words has, in the order in which they come."""
    return tuple(dict.fromkeys(name for word in words for name in word.checks))
