"""What a captioner says of drawn scenes, word by word, and what it makes of true captions with a word exchanged."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from judged.scenes import DrawnScene, drawn_scenes
from regard.explanation.words.alignment import spans
from regard.explanation.words.checks.run import checks_of, fitting_checks
from regard.explanation.words.finished import FinishedCaption
from regard.explanation.words.support.judged import JudgedWord, write_judged
from regard.explanation.words.support.kinds import kinds_of
from regard.explanation.words.tagging import parts_of_speech
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.scenes import COLOURS, Scene, captions, judge
from regard.scenes.lexicon import ACTIONS, COUNTS, ITEM_NOUNS, SIDES, SIZES, THIRD_PERSON, article

EXCHANGES = ("noun", "colour", "count", "side", "verb")
"""What is exchanged in true captions; a side also where it is a relation ("left of")."""
PLANTED = ("plain", "held-out")
"""The conditions whose scenes true captions are written of: what is hidden or cut off, nobody would tell of."""


AT_ONCE = 25
"""Scenes whose words lie in one file: an interrupted run goes on behind the last whole one."""


@dataclass(frozen=True)
class Plan:
    """How many scenes of each condition, in how many of them words are exchanged as well, and in how many patches are
    taken out."""

    scenes: Mapping[str, int]
    planted: int
    full: int


def collect(network: CaptionNetwork, plan: Plan, folder: Path) -> None:
    """The judged words of a plan's scenes, in files of `folder` that are not made again.

    Held-out scenes are those of the small captioners for all but `scenes-captioner`, which had such.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for condition, total in plan.scenes.items():
        for first in range(0, total, AT_ONCE):
            file = folder / f"{condition}-{first:05d}.csv"
            if not file.exists():
                count = min(AT_ONCE, total - first)
                write_judged(file, _chunk(network, plan, condition, range(first, first + count)))
                print(file.name, file=sys.stderr, flush=True)


def _chunk(network: CaptionNetwork, plan: Plan, condition: str, numbers: range) -> Iterator[JudgedWord]:
    scenes = list(drawn_scenes(condition, numbers[0], len(numbers) + 1, network.name != "scenes-captioner"))
    for number, of, other in zip(numbers, scenes, scenes[1:], strict=False):
        level = "full" if condition == "plain" and number < plan.full else "quick"
        yield from Reader(network, fitting_checks(network, level)).natural(of, other, condition)
        if condition in PLANTED and number < plan.planted:
            yield from Reader(network, fitting_checks(network, "quick")).planted(of, other, condition)


@dataclass(frozen=True)
class Reader:
    """Judges what `network` says, with the values of `checks`, by name."""

    network: CaptionNetwork
    checks: Sequence[str]

    @cached_property
    def hash(self) -> str:
        return self.network.weights_hash()

    def natural(self, of: DrawnScene, other: DrawnScene, condition: str) -> Iterator[JudgedWord]:
        """The words of its own caption that claim something."""
        picture = self._prepared(of)
        (decoding,) = self.network.generate([picture])
        caption = self._caption(picture, of, other, decoding.tokens)
        yield from self._words(caption, of, dict.fromkeys(range(len(caption.words))), condition)

    def planted(self, of: DrawnScene, other: DrawnScene, condition: str) -> Iterator[JudgedWord]:
        """Words of a true caption, and of each kind one that is exchanged for a wrong one."""
        known = [each.text for each in captions(of.scene, 5, of.scene.seed) if not self._is_unknown(each.text)]
        if not known:
            return
        picture = self._prepared(of)
        places = exchangeable(known[0])
        yield from self._given(picture, of, other, known[0], dict.fromkeys(places), condition)
        for place, word in self._exchanges(known[0], places, of.scene):
            yield from self._given(picture, of, other, with_word(known[0], place, word), {place: False}, condition)

    def _given(
        self,
        picture: PreparedPicture,
        of: DrawnScene,
        other: DrawnScene,
        text: str,
        places: dict[int, bool | None],
        condition: str,
    ) -> Iterator[JudgedWord]:
        caption = self._caption(picture, of, other, self.network.tokenize(text))
        if [span.text for span in caption.words] != text.split():
            raise SystemExit(f"{self.network.name} reads {text!r} as {[span.text for span in caption.words]}")
        yield from self._words(caption, of, places, condition, "planted")

    def _words(
        self,
        caption: FinishedCaption,
        of: DrawnScene,
        places: dict[int, bool | None],
        condition: str,
        errors: str = "natural",
    ) -> Iterator[JudgedWord]:
        """Of these places, whose truth is that of the scene's facts."""
        texts = [span.text for span in caption.words]
        judged = judge(" ".join("_".join(text.split()) for text in texts), of.scene)
        kinds = kinds_of(texts, parts_of_speech(texts))
        values = checks_of(caption, self.checks)
        for place in places:
            true = judged[place].true
            is_size = condition == "cropped" and texts[place] in SIZES  # of the whole picture, which nobody saw
            if true is not None and kinds[place] != "other" and not is_size:
                checks = {name: float(column[place]) for name, column in values.items()}
                yield JudgedWord(of.name, texts[place], kinds[place], true, checks, errors, condition, self.hash)

    def _prepared(self, of: DrawnScene) -> PreparedPicture:
        return self.network.prepare(Image.fromarray(of.picture))

    def _caption(
        self, picture: PreparedPicture, of: DrawnScene, other: DrawnScene, tokens: Sequence[int]
    ) -> FinishedCaption:
        pieces = self.network.pieces(tokens)
        words = tuple(span for span in spans(pieces) if not pieces.special[span.start])
        image = Image.fromarray(of.picture)
        return FinishedCaption(self.network, picture, tuple(tokens), words, self._prepared(other), image)

    def _is_unknown(self, text: str) -> bool:
        """Whether a vocabulary cannot write a text: some words came into scenes after it."""
        return bool(self.network.pieces(self.network.tokenize(text)).unknown)

    def _exchanges(self, text: str, places: dict[int, str], scene: Scene) -> Iterator[tuple[int, str]]:
        """(place, word): an exchange of each kind that there is, after which that word is false of the scene."""
        chance = np.random.default_rng((scene.seed, 19))
        for kind in EXCHANGES:
            at = [place for place, name in places.items() if name == kind]
            if not at:
                continue
            place = int(chance.choice(at))
            words = [word for word in candidates(kind, text.split()[place]) if not self._is_unknown(word)]
            wrong = [word for word in words if judge(with_word(text, place, word), scene)[place].true is False]
            if wrong:
                yield place, wrong[int(chance.integers(len(wrong)))]


def exchangeable(text: str) -> dict[int, str]:
    """The words that can be exchanged, by their place: of a noun, colour, count, side or verb.

    A verb that raises something has its object behind it, which no other verb takes.

    >>> exchangeable("a brown cat sits left of two trees")
    {1: 'colour', 2: 'noun', 3: 'verb', 4: 'side', 6: 'count', 7: 'noun'}
    """
    tables = {"noun": ITEM_NOUNS, "colour": COLOURS, "count": COUNTS, "side": SIDES, "verb": ACTIONS}
    kinds = {
        place: next((kind for kind, table in tables.items() if word in table), "")
        for place, word in enumerate(text.split())
    }
    return {place: kind for place, kind in kinds.items() if kind and not text.split()[place].startswith("rais")}


def candidates(kind: str, before: str) -> list[str]:
    """Words that could stand there: as singular or plural, in the same form, and behind the same article."""
    if kind == "noun":
        several = ITEM_NOUNS[before][1]
        words = [noun for noun, (_, plural) in ITEM_NOUNS.items() if plural == several]
    elif kind == "verb":
        forms = next(forms for forms in (THIRD_PERSON.values(), THIRD_PERSON, ACTIONS) if before in forms)
        words = [verb for verb in forms if not verb.startswith("rais")]
    else:
        words = list({"colour": tuple(COLOURS), "count": tuple(COUNTS)[1:], "side": SIDES}[kind])
    return [word for word in words if word != before and article(word) == article(before)]


def with_word(text: str, place: int, word: str) -> str:
    words = text.split()
    words[place] = word
    return " ".join(words)
