"""What is known of the words of captions, as `regard caption --truth` shows and prints it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

from regard.data.regions import Regions, regions_of
from regard.measurement.localisation.captions import CaptionScores as Result
from regard.measurement.localisation.captions import check_pictures, measure_captions, words_of
from regard.measurement.localisation.measures import MEASURES
from regard.measurement.localisation.words import BASELINES, TrueWord, WordRow
from regard.records import Caption


@dataclass(frozen=True)
class Truths:
    """What some data know of the words of captions."""

    regions: Regions

    @classmethod
    def of(cls, data: str | Path) -> Self:
        return cls(regions_of(data, words=True))

    @property
    def name(self) -> str:
        return self.regions.name

    @property
    def hash(self) -> str:
        return self.regions.digest

    def check(self, names: Iterable[str]) -> None:
        check_pictures(self.regions, names)

    def of_words(self, caption: Caption) -> dict[int, TrueWord]:
        return words_of(caption, self.regions)

    def measured(self, captions: Iterable[Caption]) -> Result:
        return measure_captions(captions, self.regions)


def as_json(result: Result) -> dict[str, Any]:
    return result.as_json()


def as_text(result: Result) -> str:
    """A line for each part of speech, right or wrong, and measure: the map's, and what it has more than baselines."""
    titles = ["map", *(f"over {base}" for base in BASELINES)]
    head = f"{'part':<10} {'':<7} {'words':>6}  {'measure':<9}" + "".join(f"{title:<26}" for title in titles)
    found = result.scores
    rest = f"{found.left_out} words without a region and {result.unknown} pictures without any left out"
    last = f"{found.words} words of {found.pictures} pictures; {rest}; intervals draw pictures"
    return "\n".join([head.rstrip(), *chain.from_iterable(map(_lines, found.rows)), last])


def _lines(row: WordRow) -> Iterator[str]:
    which = {True: "right", False: "wrong", None: ""}[row.right]
    for name in MEASURES:
        scores = [row.scores[name], *(row.scores[f"{name}_over_{base}"] for base in BASELINES)]
        line = f"{row.part:<10} {which:<7} {row.words:>6}  {name:<9}" + "".join(f"{score!s:<26}" for score in scores)
        yield line.rstrip()
