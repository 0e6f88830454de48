"""BERT's word pieces (Devlin et al. 2018, 1810.04805): text → tokens, and tokens → pieces, words and text.

The uncased vocabulary that CATR was trained with comes with the package. Text is only ever text: "[SEP]" in a caption
is a bracket and letters, never the token that ends it.
"""

import gzip
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from regard.errors import NetworkError, UsageError
from regard.networks.captioners.scripts import is_punctuation
from regard.networks.sources.shipped import HOME

SHIPPED_VOCABULARY = HOME / "bert-base-uncased" / "vocab.txt.gz"

PAD = "[PAD]"
UNKNOWN = "[UNK]"
START = "[CLS]"
STOP = "[SEP]"
CONTINUED = "##"
"""What begins a piece that goes on with the word before it."""

LONGEST_WORD = 100
"""Longer words, in characters, are not looked up: they are unknown."""

_CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B81F), (0x2B820, 0x2CEAF))
_CJK_COMPATIBLE = ((0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


@dataclass(frozen=True)
class Span:
    """A word and where its pieces are: tokens `start` to `stop`, that one not among them."""

    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class WordPiece:
    """A vocabulary: `pieces` by token, and `tokens` by piece."""

    pieces: tuple[str, ...]
    tokens: dict[str, int]
    rules: ClassVar[str] = "bert"
    """How text is cut into pieces, as a run's `model.json` has it."""

    @classmethod
    def load(cls, path: Path | str | None = None) -> Self:
        """The shipped vocabulary, or that of a file with a piece a line (plain or gzipped).

        Raises `NetworkError` when it is missing, damaged, or not a vocabulary of BERT's kind.
        """
        path = SHIPPED_VOCABULARY if path is None else Path(path)
        pieces = tuple(_read(path).removesuffix("\n").split("\n"))
        tokens = {piece: token for token, piece in enumerate(pieces)}
        lacking = [piece for piece in (PAD, UNKNOWN, START, STOP) if piece not in tokens]
        if lacking or len(tokens) != len(pieces):
            wrong = f"it lacks {', '.join(lacking)}" if lacking else "a piece is in it twice"
            raise NetworkError(
                f"{path} is no vocabulary of word pieces: {wrong}; give BERT's vocab.txt, a piece a line"
            )
        return cls(pieces, tokens)

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def start(self) -> int:
        return self.tokens[START]

    @property
    def stop(self) -> int:
        return self.tokens[STOP]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without start and stop; a word that no pieces make is the one unknown token."""
        return [self.tokens[piece] for word in split_words(text) for piece in self._split(word)]

    def written(self, text: str) -> list[str]:
        """The piece of each token of a text, and, where that is the unknown one, the word as it is written there."""
        pieces: list[str] = []
        for word in "".join(_clean(text)).split():
            plain = split_words(word)
            originals = list(_parts(word))
            for part, original in zip(plain, originals if len(originals) == len(plain) else plain, strict=True):
                found = self._split(part)
                pieces += [original] if found == [UNKNOWN] else found
        return pieces

    def decode(self, tokens: Iterable[int]) -> list[str]:
        """The piece of each token. Raises `UsageError` for a token that there is not."""
        pieces = []
        for token in tokens:
            if not 0 <= token < len(self.pieces):
                raise UsageError(f"there is no token {token}; they go from 0 to {len(self.pieces) - 1}")
            pieces.append(self.pieces[int(token)])
        return pieces

    def words(self, tokens: Sequence[int]) -> tuple[Span, ...]:
        """The words that the tokens make, each with the places of its pieces; every token is in exactly one.

        Start, stop, padding and the unknown are words of their own, which no piece goes on with.
        """
        spans: list[Span] = []
        for place, piece in enumerate(self.decode(tokens)):
            text = piece.removeprefix(CONTINUED) or piece
            if text != piece and spans and spans[-1].text not in (PAD, UNKNOWN, START, STOP):
                spans[-1] = Span(spans[-1].text + text, spans[-1].start, place + 1)
            else:
                spans.append(Span(text, place, place + 1))
        return tuple(spans)

    def text(self, tokens: Sequence[int]) -> str:
        """The tokens as a person writes them: without start, stop and padding, no space before a full stop."""
        words = (span.text for span in self.words(tokens) if span.text not in (PAD, START, STOP))
        joined = re.sub(r" ([.,!?])", r"\1", " ".join(words))
        return re.sub(r"(\w) ' (\w)", r"\1'\2", joined)

    def _split(self, word: str) -> list[str]:
        """The pieces of a word: the longest that begins it, then the longest that goes on, to its end."""
        pieces: list[str] = []
        rest = word if len(word) <= LONGEST_WORD else ""
        while rest:
            mark = CONTINUED if pieces else ""
            size = next((size for size in range(len(rest), 0, -1) if mark + rest[:size] in self.tokens), 0)
            if not size:
                return [UNKNOWN]
            pieces.append(mark + rest[:size])
            rest = rest[size:]
        return pieces or [UNKNOWN]


def split_words(text: str) -> list[str]:
    """Text → lower-case words without accents; punctuation and Chinese characters are words of their own."""
    spaced = "".join(_clean(text))
    plain = "".join(char for char in unicodedata.normalize("NFD", spaced) if unicodedata.category(char) != "Mn")
    return [part for word in plain.lower().split() for part in _parts(word)]


def _clean(text: str) -> Iterator[str]:
    """The characters of a text without control characters, with blanks alone for space and around Chinese ones."""
    for char in text:
        if char in "\t\n\r" or unicodedata.category(char) == "Zs":
            yield " "
        elif any(first <= ord(char) <= last for first, last in (*_CJK, *_CJK_COMPATIBLE)):
            yield f" {char} "
        elif char != "\ufffd" and not unicodedata.category(char).startswith("C"):
            yield char


def _parts(word: str) -> Iterator[str]:
    """A word cut at its punctuation, which stays."""
    part = ""
    for char in word:
        if not is_punctuation(char):
            part += char
            continue
        if part:
            yield part
        yield char
        part = ""
    if part:
        yield part


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (
            (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8").replace("\r\n", "\n")
        )
    except FileNotFoundError as error:
        raise NetworkError(f"no vocabulary at {path}: there is no such file; check the path") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise NetworkError(f"the vocabulary {path} cannot be read ({error}); fetch it again") from error
