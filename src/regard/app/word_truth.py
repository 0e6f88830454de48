"""What the words of captions speak of, where that is known, and whether their maps lie on it.

Drawn scenes tell of every word; a COCO file of the nouns that name what it has masks or boxes of.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path, PurePosixPath
from string import punctuation
from typing import Any, Self

from regard.data.dataset import Picture
from regard.data.layouts.coco import read_coco
from regard.data.regions.coco import Bools, mask_of, union
from regard.data.regions.coco_nouns import Phrase, nouns_for
from regard.errors import DataError
from regard.files import file_hash
from regard.measurement.localisation.words import BASELINES, MEASURES, TrueWord, WordRow, WordScores, measure
from regard.records import END, START, Caption, Heatmap
from regard.records.captions import read_captions
from regard.scenes import ANIMALS, GROUNDS, THINGS, JudgedWord, Scene, judge, read_scenes, render
from regard.scenes.lexicon import ITEM_NOUNS

SCENES = "scenes.jsonl"
"""What a folder of drawn scenes has, and knows them by."""

Truth = Callable[[Caption], Iterator[TrueWord]]
"""The words of a picture's caption that claim something, each with its region; empty where nobody knows it."""


@dataclass(frozen=True)
class Truths:
    """What some data know of the words of captions; `name` says which they are, without a folder, `hash` what."""

    name: str
    hash: str
    known: Mapping[str, Truth]

    @classmethod
    def of(cls, data: str | Path) -> Self:
        """Raises `DataError` for data that know nothing of words."""
        source, known = Path(data), truth_of(data)
        file = source / SCENES if source.is_dir() else source
        return cls(source.name, file_hash(file), known)

    @cached_property
    def find(self) -> Callable[[str], Truth | None]:
        """What knows of a picture, by its name."""
        return _finder(self.known)

    def check(self, names: Iterable[str]) -> None:
        """Raise `DataError` where nothing is known of any of these pictures."""
        first = ""
        for name in names:
            first = first or name
            if self.find(name) is not None:
                return
        raise DataError(
            f"{self.name} knows none of these pictures (the first is {first!r}); give the data whose pictures are "
            "captioned"
        )

    def of_words(self, caption: Caption) -> dict[int, TrueWord]:
        """What is known of a caption's words, by their place in it."""
        truth = self.find(caption.name)
        place = {id(word.heatmap): at for at, word in enumerate(caption.words)}
        return {} if truth is None else {place[id(word.heatmap)]: word for word in truth(caption)}

    def measured(self, captions: Iterable[Caption], seed: int = 0, resamples: int = 2000) -> "Result":
        """The scores of all words of which something is known. Raises `DataError` where that is none."""
        unknown: list[str] = []
        found = true_words(captions, self.known, unknown)
        first = next(found, None)
        if first is None:
            raise DataError(
                f"{self.name} knows nothing of these captions: {len(unknown)} of the pictures are not there, and no "
                "word of the others claims anything; give the data whose pictures were captioned"
            )
        return Result(measure(chain([first], found), seed=seed, resamples=resamples), len(unknown))


@dataclass(frozen=True)
class Result:
    """The scores of the words of captioned pictures; `unknown` counts pictures of which DATA knows no regions."""

    scores: WordScores
    unknown: int


def measure_words(
    captions: str | Path | Iterable[Caption], data: str | Path, seed: int = 0, resamples: int = 2000
) -> Result:
    """Whether the maps of words lie on what they speak of, by part of speech, beside baselines.

    `captions` is a folder that `regard caption` wrote, or what was read of one; `data` a folder of drawn scenes or a
    COCO `.json` with masks or boxes, of the same pictures under the same names (their folder may be left out). Raises
    `DataError` where these do not fit or no word has a region.
    """
    said = read_captions(captions) if isinstance(captions, str | Path) else captions
    return Truths.of(data).measured(said, seed, resamples)


def true_words(
    captions: Iterable[Caption], truths: Mapping[str, Truth], unknown: list[str] | None = None
) -> Iterator[TrueWord]:
    """The words of captions with their regions, one by one; `unknown` gets the names of pictures without any."""
    find = _finder(truths)
    for caption in captions:
        truth = find(caption.name)
        if truth is not None:
            yield from truth(caption)
        elif unknown is not None:
            unknown.append(caption.name)


def truth_of(data: str | Path) -> dict[str, Truth]:
    """By the picture's name, what knows the regions of its words. Raises `DataError` for data of another kind."""
    source = Path(data)
    if source.suffix.lower() == ".json":
        return _coco_truths(source)
    if not (source / "manifest.json").is_file():
        raise DataError(
            f"{source} tells no regions of words; give a folder that `regard scenes` wrote, or a COCO .json with masks"
        )
    return {name: partial(scene_words, scene=scene) for name, scene in read_scenes(source)}


def _finder(truths: Mapping[str, Truth]) -> Callable[[str], Truth | None]:
    """How to find what belongs to a picture: by its whole name, else by that of its file, where only one has it."""
    files = Counter(PurePosixPath(name).name for name in truths)
    short = {PurePosixPath(name).name: truth for name, truth in truths.items() if files[PurePosixPath(name).name] == 1}
    return lambda name: truths.get(name) or short.get(PurePosixPath(name).name)


def _said(caption: Caption) -> list[tuple[str, str | None, Heatmap]]:
    """Text, part of speech and map of each word that was said."""
    return [
        (word.text, word.part_of_speech, word.heatmap)
        for word in caption.words
        if word.heatmap is not None and word.text not in (START, END)
    ]


def scene_words(caption: Caption, scene: Scene) -> Iterator[TrueWord]:
    """The words of a caption that are true or false of a scene, each with the region of what it speaks of.

    A wrong word's region is that of what it was said of, as far as that is clear: see `meant`.
    """
    said = _said(caption)
    judged = judge(" ".join("_".join(text.split()) for text, _, _ in said), scene)
    masks: Mapping[str, Bools] = render(scene, size=said[0][2].grid.picture).masks if said else {}
    for (text, _, heatmap), word, names in zip(said, judged, meant(judged, scene), strict=True):
        if word.true is not None:
            region = union([masks[name] for name in names], heatmap.grid.picture)
            yield TrueWord(caption.name, text, word.part, word.true, heatmap, region)


def meant(judged: Sequence[JudgedWord], scene: Scene) -> list[tuple[str, ...]]:
    """The names of the regions that each word speaks of, of wrong ones too.

    A wrong animal (or thing) is said of the only animal (thing) that no right noun names, a wrong ground of the
    background, a wrong adjective or count of the next noun's, a wrong verb of that of the nearest animal before it, or
    else thing. What is left open has none.
    """
    places = [place for place, word in enumerate(judged) if word.part == "noun"]
    nouns = {place: judged[place].regions or _taken_for(judged[place], judged, scene) for place in places}
    return [nouns[place] if place in nouns else _of_noun(place, judged, nouns) for place in range(len(judged))]


def _taken_for(noun: JudgedWord, judged: Sequence[JudgedWord], scene: Scene) -> tuple[str, ...]:
    """What a wrong noun was said of, or nothing where that is not clear."""
    if _plain(noun) in GROUNDS:
        return ("background",)
    if _plain(noun) not in ITEM_NOUNS:
        return ()
    alike = ANIMALS if _is_animal(noun) else THINGS
    right = {name for word in judged if word.part == "noun" for name in word.regions}
    free = [str(k) for k, item in enumerate(scene.items) if item.kind in alike and str(k) not in right]
    return tuple(free) if len(free) == 1 else ()


def _plain(word: JudgedWord) -> str:
    return word.text.strip(punctuation).lower()


def _is_animal(noun: JudgedWord) -> bool:
    return ITEM_NOUNS.get(_plain(noun), ("", False))[0] in ANIMALS


def _of_noun(place: int, judged: Sequence[JudgedWord], nouns: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
    """The regions of a word that is no noun; a wrong one has those of the noun it goes with."""
    word = judged[place]
    if word.regions or word.true is None:
        return word.regions
    if word.part in ("adjective", "count"):
        return next((names for at, names in nouns.items() if at > place), ())
    if word.part == "verb":
        before = [at for at in nouns if at < place]
        animals = [at for at in before if _is_animal(judged[at])]
        return next((nouns[at] for at in [*animals[::-1], *before[::-1]]), ())
    return ()


def _coco_truths(file: Path) -> dict[str, Truth]:
    pictures = [picture for picture in read_coco(file, labels=False) if any(map(_is_placed, picture.annotations))]
    if not pictures:
        raise DataError(f"{file} has no masks or boxes of categories; give the instances that belong to the pictures")
    nouns = nouns_for(sorted({each["category"] for picture in pictures for each in _placed(picture)}))
    return {picture.name: partial(coco_words, picture=picture, nouns=nouns) for picture in pictures}


def _is_placed(annotation: Mapping[str, Any]) -> bool:
    return "category" in annotation and bool(annotation.get("segmentation") or annotation.get("bbox"))


def _placed(picture: Picture) -> list[Mapping[str, Any]]:
    return [each for each in picture.annotations if _is_placed(each)]


def coco_words(caption: Caption, picture: Picture, nouns: Mapping[Phrase, str]) -> Iterator[TrueWord]:
    """The words of a caption that name a category, with the union of its masks (of boxes where there are none).

    A word is right where the picture has such a category; a wrong one has no region. Of "hot dog" both words mean the
    food; a word that is tagged as something else than a noun means nothing.
    """
    said, placed = _said(caption), _placed(picture)
    there = {each["category"] for each in placed}
    regions: dict[str, Bools] = {}
    for place, category in categories_of([(text, tag) for text, tag, _ in said], nouns).items():
        text, _, heatmap = said[place]
        if category not in regions:
            regions[category] = _region(category, placed, picture, heatmap.grid.picture)
        yield TrueWord(caption.name, text, "noun", category in there, heatmap, regions[category])


def _region(category: str, placed: Sequence[Mapping[str, Any]], picture: Picture, size: tuple[int, int]) -> Bools:
    return union((mask_of(each, picture, size) for each in placed if each["category"] == category), size)


def categories_of(said: Sequence[tuple[str, str | None]], nouns: Mapping[Phrase, str]) -> dict[int, str]:
    """The category that each word (text, part of speech) names, by place, as far as it does; long names first."""
    words = [text.lower().strip(punctuation) for text, _ in said]
    longest = max(map(len, nouns), default=0)
    found: dict[int, str] = {}
    for place in range(len(words)):
        for stop in range(min(place + longest, len(words)), place, -1):
            category = nouns.get(tuple(words[place:stop]))
            if place not in found and category is not None and (said[stop - 1][1] or "NN").startswith("N"):
                found |= dict.fromkeys(range(place, stop), category)
    return found


def as_json(result: Result) -> dict[str, Any]:
    return {**result.scores.as_json(), "unknown": result.unknown}


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
