"""The pieces of a caption as a vocabulary writes them, whatever kind it is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from regard.errors import UsageError

MARKS = ("wordpiece", "bytes", "sentencepiece")
"""How a vocabulary says where words begin: "##" goes on (BERT); bytes as letters, "Ġ" a space (GPT-2); "▁" a space."""

UNKNOWN = ("[UNK]", "<unk>")
"""How vocabularies write what they do not have."""


@dataclass(frozen=True)
class Pieces:
    """The pieces of a caption: `texts` as the vocabulary has them, and which are `special` (start, stop, ...)."""

    texts: tuple[str, ...]
    marks: str
    special: tuple[bool, ...]

    def __post_init__(self) -> None:
        if self.marks not in MARKS or len(self.texts) != len(self.special):
            raise UsageError(
                f"{len(self.texts)} pieces of kind {self.marks!r} with {len(self.special)} signs; give a sign for each "
                f"piece, and one of {', '.join(MARKS)}"
            )

    def content(self, place: int) -> bytes:
        """What a piece stands for, as UTF-8, which may be a part of a character only; spaces are spaces."""
        text = self.texts[place]
        if self.special[place]:
            return text.encode()
        if self.marks == "bytes":
            return b"".join(_letters().get(letter, letter.encode()) for letter in text)
        if self.marks == "sentencepiece":
            return _byte_of(text) or text.replace("▁", " ").encode()
        return (text.removeprefix("##") or text).encode()

    @property
    def unknown(self) -> tuple[int, ...]:
        """The places of what the vocabulary does not have."""
        return tuple(place for place, text in enumerate(self.texts) if text in UNKNOWN)

    def with_words(self, words: Mapping[int, str]) -> "Pieces":
        """With these words at some places, as plain text, in the place of what the vocabulary does not have."""
        texts = tuple(words.get(place, text) for place, text in enumerate(self.texts))
        special = tuple(each and place not in words for place, each in enumerate(self.special))
        return Pieces(texts, self.marks, special)

    def begins(self, place: int) -> bool:
        """Whether the vocabulary says that a word begins here."""
        if self.special[place]:
            return True
        if self.marks == "wordpiece":
            return not self.texts[place].startswith("##") or self.texts[place] == "##"
        return self.content(place)[:1].isspace()


def _byte_of(text: str) -> bytes | None:
    """SentencePiece's way to write a byte: `<0xE4>`."""
    return bytes([int(text[3:5], 16)]) if len(text) == 6 and text.startswith("<0x") and text.endswith(">") else None


@cache
def _letters() -> dict[str, bytes]:
    """GPT-2's letters for bytes: visible ones stand for themselves, the others follow from 256 on, in order."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    table = {chr(byte): bytes([byte]) for byte in visible}
    return table | {chr(256 + place): bytes([byte]) for place, byte in enumerate(hidden)}
