"""What the words of captions speak of, where that is known, and whether their maps lie on it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from regard.data.regions import Bools, PictureRegions, Regions, regions_of
from regard.errors import DataError
from regard.measurement.localisation.words import TrueWord, WordScores, measure
from regard.records import END, START, Caption
from regard.records.display import Readable, counted
from regard.results.captions import read_captions


@dataclass(frozen=True, repr=False)
class CaptionScores(Readable):
    """The scores of the words of captioned pictures; `unknown` counts pictures of which the data know no regions."""

    scores: WordScores
    unknown: int

    def __str__(self) -> str:
        return f"{self.scores}\n{counted(self.unknown, 'picture')} of which the data know no regions"

    def as_json(self) -> dict[str, Any]:
        return {**self.scores.as_json(), "unknown": self.unknown}


def measure_captions(
    captions: str | Path | Iterable[Caption], data: str | Path | Regions, seed: int = 0, resamples: int = 2000
) -> CaptionScores:
    """Whether the maps of words lie on what they speak of, by part of speech, beside baselines.

    `captions` is a folder that `regard caption` wrote, or what was read of one; `data` a folder of drawn scenes or a
    COCO `.json` with masks or boxes, of the same pictures under the same names (their folder may be left out). Raises
    `DataError` where these do not fit or no word has a region.
    """
    captions = read_captions(captions) if isinstance(captions, str | Path) else captions
    regions = regions_of(data, words=True) if isinstance(data, str | Path) else data
    unknown: list[str] = []
    words = true_words(captions, regions, unknown)
    first = next(words, None)
    if first is None:
        raise DataError(
            f"{regions.name} knows nothing of these captions: {len(unknown)} of the pictures are not there, and no "
            "word of the others claims anything; give the data whose pictures were captioned"
        )
    scores = measure(chain([first], words), seed=seed, resamples=resamples)
    return CaptionScores(scores, len(unknown))


def true_words(captions: Iterable[Caption], regions: Regions, unknown: list[str] | None = None) -> Iterator[TrueWord]:
    """The words of captions with their regions, one by one; `unknown` gets the names of pictures without any."""
    for caption in captions:
        picture = regions.find(caption.name)
        if picture is not None:
            yield from _true_words(caption, picture).values()
        elif unknown is not None:
            unknown.append(caption.name)


def words_of(caption: Caption, regions: Regions) -> dict[int, TrueWord]:
    """What is known of a caption's words, by their place in it."""
    picture = regions.find(caption.name)
    return {} if picture is None else _true_words(caption, picture)


def _true_words(caption: Caption, picture: PictureRegions) -> dict[int, TrueWord]:
    """The words that claim something, each with the region of what it speaks of, by their place in the caption."""
    places = [place for place, word in enumerate(caption.words) if word.heatmap and word.text not in (START, END)]
    words = [caption.words[place] for place in places]
    masks: dict[tuple[str, ...], Bools] = {}
    by_place: dict[int, TrueWord] = {}
    for claim in picture.claims([(word.text, word.part_of_speech) for word in words]):
        word = words[claim.place]
        if word.heatmap is None:
            continue
        if claim.regions not in masks:
            masks[claim.regions] = picture.mask(claim.regions, word.heatmap.grid.picture)
        region = masks[claim.regions]
        by_place[places[claim.place]] = TrueWord(caption.name, word.text, claim.part, claim.right, word.heatmap, region)
    return by_place


def check_pictures(regions: Regions, names: Iterable[str]) -> None:
    """Raise `DataError` where nothing is known of any of these pictures."""
    first = ""
    for name in names:
        first = first or name
        if regions.find(name) is not None:
            return
    raise DataError(
        f"{regions.name} knows none of these pictures (the first is {first!r}); give the data whose pictures are "
        "captioned"
    )
