"""Captions that are given: which picture has which, and the tokens that a network is to say."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import punctuation

from regard.data.dataset import Dataset, Picture, several
from regard.data.layouts.captions import captions_of, read_captioned
from regard.errors import DataError, UsageError
from regard.explanation.words.alignment import UNKNOWN
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture

log = logging.getLogger("regard")

ALL = "all"


@dataclass(frozen=True)
class Item:
    """A picture that is to be described, or to bear a given `caption`: of several the one at `which`, from 0."""

    picture: Picture
    caption: str | None = None
    which: int | None = None

    @property
    def name(self) -> str:
        return self.picture.name

    @property
    def file(self) -> str:
        """The name that its files have: the picture's, with the number of the caption where all are wanted."""
        path = PurePosixPath(self.name)
        return self.name if self.which is None else str(path.with_name(f"{path.stem}_{self.which}{path.suffix}"))


def plain_items(pictures: Dataset) -> tuple[Item, ...]:
    """Pictures whose captions are to be made."""
    return tuple(Item(picture) for picture in pictures.pictures)


def parse_which(which: str | int) -> int | None:
    """ "2" → 2, the third caption of each picture; "all" → None. Raises `UsageError` for anything else."""
    text = str(which).strip().lower()
    if text == ALL:
        return None
    if not text.isdecimal():
        raise UsageError(f"--which is {which!r}; it must be the number of a caption, from 0, or all")
    return int(text)


def given_items(pictures: Dataset, file: Path, which: int | None, skip_bad: bool) -> tuple[Item, ...]:
    """Pictures with the captions that `file` has for them: one each, or all.

    Raises `DataError` for pictures that have none, unless `skip_bad`, which names them and goes on.
    """
    given = {picture.identity: picture for picture in read_captioned(file).pictures}
    found = {picture.name: given.get(picture.identity) for picture in pictures.pictures}
    bare = [name for name, captioned in found.items() if captioned is None]
    if bare:
        problem = f"{several(bare, 'picture')} without a caption in {file}"
        if not skip_bad or len(bare) == len(found):
            raise DataError(f"{problem}; add captions, or give the pictures that have some (or --skip-bad)")
        log.warning(f"skipped: {problem}")
    together = ((picture, found[picture.name]) for picture in pictures.pictures)
    return tuple(
        item for picture, captioned in together if captioned is not None for item in _items(picture, captioned, which)
    )


def _items(picture: Picture, captioned: Picture, which: int | None) -> Iterator[Item]:
    captions = captions_of(captioned)
    if which is None:
        yield from (Item(picture, text, place) for place, text in enumerate(captions))
        return
    if which >= len(captions):
        raise DataError(
            f"{picture.name} has no caption {which}, only 0 to {len(captions) - 1}; give another --which, or all"
        )
    yield Item(picture, captions[which])


def tokens_of(captioner: CaptionNetwork, item: Item, prepared: PreparedPicture | None = None) -> tuple[int, ...]:
    """The tokens of a given caption, the stop among them.

    Raises `DataError` where there is nothing to say, or more than can follow what the picture begins with.
    """
    text = item.caption or ""
    tokens = tuple(captioner.tokenize(text))
    if not captioner.text(tokens):
        raise DataError(f"{item.name}: the caption {text!r} has no words for {captioner.name}; give it some")
    begun = 1 if prepared is None else len(prepared.start)
    most = captioner.limit + 1 - begun
    if len(tokens) > most:
        raise DataError(
            f"{item.name}: the caption {_cut(text)!r} has {len(tokens)} tokens with its end, and {captioner.name} "
            f"takes {most}; shorten it"
        )
    return tokens


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()} ..."


def unknown_words(captioner: CaptionNetwork, text: str) -> list[str]:
    """The words of a text that the network's vocabulary cannot write, as the user wrote them."""
    if not _is_unknown(captioner, captioner.tokenize(text)):
        return []
    words = (word.strip(punctuation) or word for word in text.split())
    return [word for word in words if _is_unknown(captioner, captioner.tokenize(word))]


def _is_unknown(captioner: CaptionNetwork, tokens: Sequence[int]) -> bool:
    return any(text in UNKNOWN for text in captioner.pieces(tokens).texts)
