"""All captions of an audit together: what was measured as arrays by word, beside what maps that know nothing have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from regard.measurement.localisation.measures import Bools, Cover, centre, pointing, share
from regard.measurement.localisation.words import shuffled
from regard.records import AuditedWord, Float, PatchGrid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Word:
    """A word with its map, what its region covers, and what each object of its caption does."""

    unit: str
    picture: str
    entry: Mapping[str, Any]
    values: Float
    region: Cover | None
    animal: Cover | None
    objects: tuple[Cover, ...]
    sentence: tuple[Float, ...] = field(repr=False)  # the maps of the other words

    @property
    def sort(self) -> str:
        """Words of one sort lend each other their maps: a noun that is the ground only such."""
        ground = self.entry["claim"] == "nouns" and self.entry["ground"]
        return f"{self.entry['claim']}{' ground' if ground else ''}"

    def share_of(self, values: Float) -> float:
        """Of a map, what lies on the word's region."""
        return float("nan") if self.region is None else share(values, self.region)

    def pointing_of(self, values: Float) -> float:
        """The chance that a pixel where a map is highest lies there."""
        return float("nan") if self.region is None else pointing(values, self.region)


@dataclass(frozen=True)
class Gathered:
    """The words of all captions, and `numbers` (words,) of each by name, NaN where there is none; `unknown` counts
    captions of pictures of which the data know nothing."""

    words: tuple[_Word, ...]
    unknown: int
    seed: int = 0

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]], maps: BinaryIO, seed: int) -> "Gathered":
        """From the lines of a writer, and the maps beside them, in the same order."""
        words: list[_Word] = []
        unknown = 0
        for entry in entries:
            if entry.get("unknown"):
                unknown += 1
                continue
            rows, columns = entry["grid"]
            values = np.frombuffer(maps.read(4 * entry["maps"] * rows * columns), np.float32)
            values = values.reshape(entry["maps"], rows, columns)
            area = np.array(entry["area"]).reshape(rows, columns)
            covers = [Cover(area, np.array(each).reshape(rows, columns)) for each in entry["inside"]]
            objects = tuple(covers[number] for number in entry["nouns"])
            claimed = [word["place"] for word in entry["words"]]
            for word in entry["words"]:
                region, animal = (None if word[name] is None else covers[word[name]] for name in ("region", "animal"))
                others = tuple(values[place] for place in claimed if place != word["place"])
                words.append(
                    _Word(entry["unit"], entry["picture"], word, values[word["place"]], region, animal, objects, others)
                )
        return cls(tuple(words), unknown, seed)

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def captions(self) -> int:
        return len({word.unit for word in self.words})

    @cached_property
    def pictures(self) -> Ints:
        """(words,): the picture of each, by number: what intervals draw."""
        return np.unique([word.picture for word in self.words], return_inverse=True)[1]

    def of_claim(self, claim: str, words: str = "all") -> Bools:
        """(words,): of which this is claimed, as far as they are such `words` (one of WORDS)."""
        right = {"right": (True,), "wrong": (False,), "unjudged": (None,), "all": (True, False, None)}[words]
        return np.array([word.entry["claim"] == claim and word.entry["right"] in right for word in self.words], bool)

    def column(self, name: str) -> Floats:
        """(words,): a number that was measured of single words."""
        return np.array([word.entry["numbers"].get(name, np.nan) for word in self.words], np.float64)

    @cached_property
    def donors(self) -> tuple[Float | None, ...]:
        """For each word the map of such a word in another picture, on its own grid."""
        return self._donors(self.seed)

    def _donors(self, seed: int) -> tuple[Float | None, ...]:
        places = shuffled([word.picture for word in self.words], [word.sort for word in self.words], seed)
        donors: list[Float | None] = []
        for word, place in zip(self.words, places, strict=True):
            values = None if place is None else self.words[place].values
            if values is not None and values.shape != word.values.shape:  # laid on this grid by its place in the input
                rows, columns = word.values.shape
                values = PatchGrid.whole(*values.shape).to_picture(values, size=(rows, columns))
            donors.append(values)
        return tuple(donors)

    @cached_property
    def maps(self) -> dict[str, Floats]:
        """(words,) of maps that lie on a region, by measure, and by "measure:control"; of what is claimed `anywhere`
        the measure is `map_nearness`."""
        table: dict[str, Floats] = {}
        planted = {"random": self._noise(), "centre": self._centres(), "shuffled": self._donors(self.seed + 1)}
        measures = {"map_share": _Word.share_of, "map_pointing": _Word.pointing_of, "map_nearness": nearness}
        for name, of in measures.items():
            sources = {"": [word.values for word in self.words], ":centre": self._centres(), ":shuffled": self.donors}
            if name != "map_nearness":
                sources[":random"] = [np.ones_like(word.values) for word in self.words]
            for suffix, maps in sources.items():
                table[f"{name}{suffix}"] = self._each(of, maps)
            table.setdefault(f"{name}:random", self._each(nearness, [np.ones_like(each.values) for each in self.words]))
        sentences = [[word.share_of(values) for values in word.sentence] for word in self.words]
        table["map_share:sentence"] = np.array([np.mean(shares or np.nan) for shares in sentences])
        table["map_share:animal"] = np.array([_animal_share(word) for word in self.words])
        for name, maps in planted.items():
            table[f"map_share:planted {name}"] = self._each(_Word.share_of, maps)
        return table

    def _each(self, of: Any, maps: Iterable[Float | None]) -> Floats:
        pairs = zip(self.words, maps, strict=True)
        return np.array([np.nan if values is None else of(word, values) for word, values in pairs], np.float64)

    def _noise(self) -> list[Float]:
        chance = np.random.default_rng((self.seed, 19))
        return [chance.random(word.values.shape, np.float32) for word in self.words]

    def _centres(self) -> list[Float]:
        return [centre(*word.values.shape).astype(np.float32) for word in self.words]

    def sentence_means(self, name: str) -> Floats:
        """(words,): the mean of a number over the words of content in the same caption; NaN where there are none."""
        values = self.column(name)
        content = np.array([word.entry["kind"] != "other" for word in self.words]) & np.isfinite(values)
        units = np.unique([word.unit for word in self.words], return_inverse=True)[1]
        count = int(units.max()) + 1 if len(units) else 0
        sums = np.bincount(units[content], values[content], count)
        sizes = np.bincount(units[content], minlength=count)
        return np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0)[units]

    def rows(self) -> tuple[AuditedWord, ...]:
        """A record of each word, with all its numbers."""
        tables = {name: values for name, values in self.maps.items() if "planted" not in name}
        rows = []
        for place, word in enumerate(self.words):
            entry = word.entry
            numbers = {name: float(values[place]) for name, values in tables.items() if np.isfinite(values[place])}
            about = (word.unit, entry["place"], entry["text"], entry["kind"], entry["claim"], entry["right"])
            picture = "" if word.picture == word.unit else word.picture
            rows.append(AuditedWord(*about, {**numbers, **entry["numbers"]}, picture))
        return tuple(rows)


def nearness(word: _Word, values: Float) -> float:
    """How much more of a map lies on the object of its caption that it is on most than that object's share of the area;
    NaN where no object is known. A map that is the same everywhere has 0."""
    shares = [share(values, each) - float(each.inside.sum() / each.area.sum()) for each in word.objects]
    return max(shares, default=float("nan"))


def _animal_share(word: _Word) -> float:
    """What a map that is even over the whole animal has on the part of it that acts: one of patches, as the word's is,
    which at the animal's edge lies beside it too."""
    if word.region is None or word.animal is None:
        return float("nan")
    whole = word.animal
    even = np.divide(whole.inside, whole.area, out=np.zeros(whole.area.shape), where=whole.area > 0)
    return share(even, word.region)
