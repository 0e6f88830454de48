"""The checks of words as `regard caption --check` prints them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from regard.records.captions import END, support_text
from regard.records.display import counted
from regard.results.captions import Entry, Tally, supports_of

PRINTED = 3
"""Captions whose words are printed; all are in the result."""
_NONE = "-"


def checks_text(tally: Tally, network: str, settings: Mapping[str, Any]) -> str:
    """The doubtful words of the first captions, a line for each with its reasons, how many there are beside these, and
    what that was measured on; where it was not measured a table of the raw checks, a line for each word, and why there
    is no more; "" without any."""
    entries = tally.checked
    names = settings.get("checks", ())
    if not entries or not names:
        return ""
    if "none" in settings.get("support", {"none": ""}):
        lines = [line for entry in entries[:PRINTED] for line in _table(entry, names)]
        return "\n".join([*lines, *_notes(network, settings)])
    lines = [
        f'{entry["name"]}: doubtful "{text}" ({support.kind}) {support}'
        for entry in entries
        for text, support in supports_of(entry)
        if support is not None and support.is_doubtful
    ]
    silence = [f"{entry['name']}: no probability: {why}" for entry in entries if (why := _silence(entry))]
    if tally.doubtful:
        more = [f"{counted(tally.doubtful, 'doubtful word')} in the captions behind these"]
    else:
        more = [] if lines or len(silence) == len(entries) else ["no word is doubtful"]
    return "\n".join([*lines, *silence, *more, support_text(settings)])


def _silence(entry: Entry) -> str:
    """Why none of a caption's words can have a probability; "" where they can."""
    words = [word for word in entry["words"] if word["text"] != END and any(map(str.isalnum, word["text"]))]
    if len(words) == 1:
        return "one word is no sentence, and support was measured on sentences"
    letters = "".join(filter(str.isalpha, "".join(word["text"] for word in words)))
    is_foreign = letters and not any(map(str.isascii, letters))
    return "its words are no English ones, on which support was measured" if is_foreign else ""


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
