"""A vocabulary of the user's own captions: words as they are written, in any script and case.

BERT's pieces drop accents, vowel signs and capitals; these keep every letter. A piece begins with "##" where no space
stands before it, so that punctuation, and scripts that write no spaces, come back as they were written:

    "Das Tor, blau."  →  Das  Tor  ##,  blau  ##.            "红色圆点"  →  红  ##色  ##圆  ##点
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Self

from regard.networks.captioners.scripts import parts
from regard.networks.captioners.wordpiece import CONTINUED, PAD, START, STOP, UNKNOWN, WordPiece


class WrittenWords(WordPiece):
    """See above. `text(encode(caption))` is the caption, runs of blanks as one space, where its words are known.

    A word that is spelt otherwise than in the vocabulary (another case, composed or decomposed letters, a space before
    it or none) is the word that is there.
    """

    rules = "written"

    @classmethod
    def of(cls, counts: Counter[str], least: int) -> Self:
        """The pieces that occur `least` times, the commonest first; of canonically equivalent ones the commonest."""
        spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for piece, count in counts.items():
            spellings[_composed(piece)][piece] += count
        common = {
            min(each, key=lambda piece: (-each[piece], piece)): each.total()
            for each in spellings.values()
            if each.total() >= least
        }
        pieces = (PAD, UNKNOWN, START, STOP, *sorted(common, key=lambda piece: (-common[piece], piece)))
        return cls(pieces, {piece: token for token, piece in enumerate(pieces)})

    def encode(self, text: str) -> list[int]:
        return [self._token(piece) for piece in written_pieces(text)]

    def written(self, text: str) -> list[str]:
        pieces = written_pieces(text)
        return [
            piece if self._token(piece) == self.tokens[UNKNOWN] else self.pieces[self._token(piece)] for piece in pieces
        ]

    def text(self, tokens: Sequence[int]) -> str:
        pieces = (piece for piece in self.decode(tokens) if piece not in (PAD, START, STOP))
        return "".join(piece[2:] if continues(piece) else f" {piece}" for piece in pieces).removeprefix(" ")

    def _token(self, piece: str) -> int:
        if piece in self.tokens:
            return self.tokens[piece]
        folded = _folded(piece)
        other = folded[2:] if continues(folded) else CONTINUED + folded
        spellings = (_composed(piece), folded, other)
        return next((self._alike[each] for each in spellings if each in self._alike), self.tokens[UNKNOWN])

    @cached_property
    def _alike(self) -> dict[str, int]:
        """Tokens by composed and by folded spelling; the commonest, which comes first, where several have one."""
        composed: dict[str, int] = {}
        folded: dict[str, int] = {}
        for piece, token in self.tokens.items():
            if piece not in (PAD, UNKNOWN, START, STOP):
                composed.setdefault(_composed(piece), token)
                folded.setdefault(_folded(piece), token)
        return folded | composed


def written_pieces(text: str) -> Iterable[str]:
    """Words, punctuation, and letters of scripts without spaces, all as written; "##" before what no space precedes."""
    clean = "".join(char for char in text if char.isspace() or unicodedata.category(char) not in ("Cc", "Cs"))
    for word in clean.replace("\ufeff", "").split():
        for place, part in enumerate(parts(word)):
            yield CONTINUED + part if place else part


def continues(piece: str) -> bool:
    """Whether a piece follows the one before it without a space."""
    return piece.startswith(CONTINUED) and piece != CONTINUED


def _composed(piece: str) -> str:
    return unicodedata.normalize("NFC", piece)


def _folded(piece: str) -> str:
    return _composed(_composed(piece).casefold())
