"""What else of its kind could stand in a word's place: the likeliest, and the one that the picture supports better.

A candidate is a token that is a whole word by itself, of the same kind in the same sentence, and no other form of the
word. Of a word of several tokens the first decides: what else could have begun there.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.explanation.words.alignment import spans
from regard.explanation.words.finished import FinishedCaption, Floats
from regard.explanation.words.support.context import folded
from regard.explanation.words.support.kinds import CONTENT, kinds_of
from regard.explanation.words.tagging import parts_of_speech
from regard.networks.captioners.decoding import Decoding

CANDIDATES = 8
"""How many whole words are looked at in each place, the likeliest first."""
HALF = -math.log(2)


@dataclass(frozen=True)
class Candidate:
    """A word that could stand in the place of another: how much likelier it is there, and how much more than the word
    it gains over a grey picture and over the other picture, in nats; `over_another` is NaN where there is no other."""

    text: str
    likelier: float
    over_none: float
    over_another: float

    def is_better(self, aligned: bool) -> bool:
        """Whether the picture supports it better: likelier than a word of a caption that is given (`aligned`), or half
        as likely as one that the network chose; and with more gain, over a grey picture and over the other one."""
        is_likely = self.likelier > (0.0 if aligned else HALF)
        return is_likely and self.over_none > 0 and not self.over_another <= 0


def candidates_of(
    caption: FinishedCaption, kinds: Sequence[str], places: Collection[int] | None = None
) -> list[list[Candidate]]:
    """Of each word of these `kinds`, what else could stand there, the likeliest first: of the 64 likeliest tokens those
    that are a word of the same kind, of eight words at most. Empty for `other` words, and at other than these `places`
    (each tags the sentence several times).
    """
    likeliest = _Likeliest.of(caption.trace.decoding)
    contrasts = [_Likeliest.of(each) for each in caption.contrast_decodings]
    texts = [word.text for word in caption.words]
    return [
        list(_candidates(caption, texts, place, kind, [likeliest, *contrasts]))
        if kind in CONTENT and (places is None or place in places)
        else []
        for place, kind in enumerate(kinds)
    ]


def alternatives_of(candidates: Sequence[Sequence[Candidate]], *, aligned: bool) -> tuple[str | None, ...]:
    """(words,): the likeliest word of the same kind that the picture supports better than each word (see
    `Candidate.is_better`), or None: what is merely usual in such a sentence gains nothing. One less than half as likely
    as the likeliest is none: where that gains nothing, as the other picture shows the same, what is next is a guess.
    """
    near = ([each for each in listed if each.likelier >= listed[0].likelier + HALF] for listed in candidates)
    return tuple(next((each.text for each in listed if each.is_better(aligned)), None) for listed in near)


@dataclass(frozen=True)
class _Likeliest:
    """The likeliest `tokens` (steps, n) of each step of a caption, with their `logs` (steps, n), best first, and the
    `chosen` log-probabilities (steps,) of its own."""

    tokens: NDArray[np.int64]
    logs: Floats
    chosen: Floats

    @classmethod
    def of(cls, decoding: Decoding) -> "_Likeliest":
        logs = decoding.alternative_log_probabilities.double().numpy()
        return cls(decoding.alternatives.numpy(), logs, decoding.log_probabilities.double().numpy())

    def over_chosen(self, step: int, token: int) -> float:
        """How much likelier a token is than the caption's own, in nats; at most so much where it is not listed."""
        places = np.flatnonzero(self.tokens[step] == token)
        log = self.logs[step, places[0]] if len(places) else self.logs[step, -1]
        return float(log - self.chosen[step])


def _candidates(
    caption: FinishedCaption, texts: Sequence[str], place: int, kind: str, passes: Sequence[_Likeliest]
) -> Iterator[Candidate]:
    """`passes` are of its own picture, of the other one where there is one, and of none."""
    step = caption.words[place].start
    tried = 0
    for token in passes[0].tokens[step].tolist():
        text = _whole_word(caption, token, caption.tokens[step])
        if text is None or folded(text) == folded(texts[place]):
            continue
        tried += 1
        if tried > CANDIDATES:
            return
        sentence = [*texts[:place], text, *texts[place + 1 :]]
        if kinds_of(sentence, parts_of_speech(sentence))[place] == kind:
            likelier = passes[0].over_chosen(step, token)
            gains = [likelier - each.over_chosen(step, token) for each in passes[1:]]  # at least so much
            yield Candidate(text, likelier, gains[-1], gains[0] if caption.other is not None else math.nan)


def _whole_word(caption: FinishedCaption, token: int, instead: int) -> str | None:
    """The text of a token that is a word by itself and begins as the one `instead` of which it would stand."""
    pieces, others = (caption.network.pieces((each,)) for each in (token, instead))
    words = spans(pieces)
    if pieces.special[0] or pieces.begins(0) != others.begins(0) or len(words) != 1:
        return None
    text = words[0].text
    return text if text.isalpha() and (len(text) > 1 or not text.isascii()) else None
