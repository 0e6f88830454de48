"""The checks of words as `regard caption --check` prints them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from regard.records.captions import support_text
from regard.results.captions import Entry, supports_of

PRINTED = 3
"""Captions whose words are printed; all are in the result."""
_NONE = "-"
_SILENCE = "it is one word alone, or has none that claims anything and could be read (docs/captions.md)"


def checks_text(entries: Sequence[Entry], network: str, settings: Mapping[str, Any]) -> str:
    """The doubtful words of the first captions, a line for each with its reasons, and what that was measured on; where
    it was not measured a table of the raw checks, a line for each word, and why there is no more; "" without any."""
    names = settings.get("checks", ())
    if not entries or not names:
        return ""
    if "none" in settings.get("support", {"none": ""}):
        lines = [line for entry in entries[:PRINTED] for line in _table(entry, names)]
        return "\n".join([*lines, *_notes(network, settings)])
    silent = [entry for entry in entries if not any(support for _, support in supports_of(entry))]
    lines = [line for entry in entries for line in _doubtful(entry)]
    if not lines and len(silent) < len(entries):
        lines = ["no word is doubtful"]
    lines += [f"{entry['name']}: no word has a probability; {_SILENCE}" for entry in silent]
    return "\n".join([*lines, support_text(settings)])


def _doubtful(entry: Entry) -> Iterator[str]:
    for text, support in supports_of(entry):
        if support is not None and support.is_doubtful:
            yield f'{entry["name"]}: doubtful "{text}" ({support.kind}) {support}'


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
        f"{support_text(settings)} Of each check, a higher number is a word that the picture supports better "
        "(docs/caption-files.md)."
    )
    missing = sorted(settings["missing_checks"].items(), key=lambda each: each[1])
    for need, rows in groupby(missing, key=lambda each: each[1]):
        yield f"{network} lacks {need}, without which there is no {' or '.join(name for name, _ in rows)}."
