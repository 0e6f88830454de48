"""Inspections of many pictures by one network or by several, for a page."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from regard.data.dataset import Picture
from regard.errors import DataError
from regard.predictors.inspector.inspector import Inspector
from regard.predictors.inspector.maps import FindVerdict
from regard.progress import Progress, silent
from regard.records import Inspection

log = logging.getLogger("regard")


def inspect_all(
    inspectors: Sequence[Inspector],
    pictures: Sequence[Picture],
    settings: Mapping[str, Any],
    *,
    learnt: Sequence[frozenset[str]] = (),
    verdicts: Sequence[FindVerdict] = (),
    on_bad: Callable[[Picture, DataError], None] | None = None,
    progress: Progress = silent,
) -> dict[str, list[Inspection]]:
    """By the pictures' names an inspection by each network; `settings` are those of an inspector's call.

    `learnt` and `verdicts` are those of each network, where there are any: the hashes of pictures that it was trained
    on, and what an audit found. Raises `DataError` naming a picture that cannot be read, unless `on_bad` takes it, and
    where none could be read.
    """
    result: dict[str, list[Inspection]] = {}
    for inspector in inspectors:
        with suppress(DataError):  # of a picture that cannot be read it is said below
            inspector.find_repair(pictures)
    with progress("inspecting", len(pictures)) as advance:
        for picture in pictures:
            try:
                result[picture.name] = [
                    inspector(
                        picture,
                        true=picture.label,
                        seen=bool(learnt) and picture.opener.digest() in learnt[place],
                        verdicts=verdicts[place] if verdicts else None,
                        **settings,
                    )
                    for place, inspector in enumerate(inspectors)
                ]
            except DataError as error:
                if on_bad is None:
                    raise
                on_bad(picture, error)
            advance(1)
    if not result:
        raise DataError("none of the pictures could be read")
    return result


def absent_methods(inspections: Mapping[str, Sequence[Inspection]], methods: Sequence[str]) -> list[str]:
    """What could not be shown by which method, and why, each once."""
    lines = [
        f"{name} is left out: {each.absent[name]}"
        for several in inspections.values()
        for each in several
        for name in methods
        if name in each.absent
    ]
    return list(dict.fromkeys(lines))
