"""The checks of words as `regard caption --check` prints them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from regard.results.captions import Entry

PRINTED = 3
"""Captions whose words are printed; all are in the result."""
_NONE = "-"


def checks_text(entries: Sequence[Entry], network: str, settings: Mapping[str, Any]) -> str:
    """A table of the first captions, a line for each word, and what is to be known of all of them; "" without any."""
    names = settings.get("checks", ())
    if not entries or not names:
        return ""
    lines = [line for entry in entries[:PRINTED] for line in _table(entry, names)]
    return "\n".join([*lines, *_notes(network, settings)])


def _table(entry: Entry, names: Sequence[str]) -> Iterator[str]:
    words = [word for word in entry["words"] if word.get("checks") is not None]
    width = max([len("word"), *(len(word["text"]) for word in words)])
    yield f"checks of {entry['name']}"
    yield f"{'word':<{width}}  " + "  ".join(names)
    for word in words:
        values = (word["checks"][name] for name in names)
        cells = (_NONE if value is None else f"{round(value, 3) + 0.0:.3f}" for value in values)  # no -0.000
        yield f"{word['text']:<{width}}  " + "  ".join(
            f"{cell:>{len(name)}}" for cell, name in zip(cells, names, strict=True)
        )


def _notes(network: str, settings: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"No probability: what says which words are wrong has not been measured on {network}. These are raw checks; of "
        "each, a higher number is a word that the picture supports better (docs/caption-files.md)."
    )
    missing = sorted(settings["missing_checks"].items(), key=lambda each: each[1])
    for need, rows in groupby(missing, key=lambda each: each[1]):
        yield f"{network} lacks {need}, without which there is no {' or '.join(name for name, _ in rows)}."
