"""A captioner whose words and attention are planted, so that every number is known."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from regard.errors import DataError
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.wordpiece import WordPiece
from regard.records import PatchGrid

ROWS, COLUMNS = 3, 5
PIECES = ("[PAD]", "a", "cat", "un", "##believ", "##ably", "naps", ".", "[SEP]", "[UNK]", "[CLS]", "猫", "я")
VOCABULARY = WordPiece(PIECES, {piece: token for token, piece in enumerate(PIECES)})
SENTENCE = (1, 2, 3, 4, 5, 6, 7, 8)  # a cat unbelievably naps. <end>


class Planted(CaptionNetwork):
    """Says `said` of every picture in turn; row i of its attention looks at patch i alone."""

    name, architecture, layers, heads, limit, default_limit = "planted", "Planted", 3, 2, 12, 9

    def __init__(self, *said: Sequence[int]) -> None:
        self.module = nn.Linear(1, 1)
        nn.init.ones_(self.module.weight)
        nn.init.zeros_(self.module.bias)
        self.said, self.batches, self.captures = said or (SENTENCE,), list[int](), list[Capture | None]()

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        if min(image.size) < 4:
            raise DataError(f"a picture of {image.height} × {image.width} pixels is too thin; crop it")
        size = image.height, image.width
        grid = PatchGrid(ROWS, COLUMNS, 0, size, (-10.0, -5.0, image.width + 2.0, image.height + 1.0))
        bright = sum(image.resize((1, 1), Image.Resampling.BOX).tobytes())
        return PreparedPicture({"brightness": torch.tensor(float(bright))}, grid, (10,))

    def generate(
        self, pictures: Any, *, capture: Capture | None = None, alternatives: int = 0, **how: Any
    ) -> list[Decoding]:
        before = self._seen(pictures, capture)
        return [planted(self.said[(before + place) % len(self.said)], alternatives) for place, _ in enumerate(pictures)]

    def teacher_force(
        self, pictures: Any, captions: Any, *, capture: Capture | None = None, alternatives: int = 0
    ) -> list[Decoding]:
        self._seen(pictures, capture)
        return [planted(caption, alternatives) for _, caption in zip(pictures, captions, strict=True)]

    def _seen(self, pictures: Any, capture: Capture | None) -> int:
        before = sum(self.batches)
        self.batches.append(len(pictures))
        self.captures.append(capture)
        return before

    def pieces(self, tokens: Sequence[int]) -> Pieces:
        return Pieces(tuple(PIECES[token] for token in tokens), "wordpiece", tuple(token in (0, 8) for token in tokens))

    def text(self, tokens: Sequence[int]) -> str:
        return VOCABULARY.text(tokens)

    def tokenize(self, text: str) -> list[int]:
        return [*VOCABULARY.encode(text), 8]


class Varied(Planted):
    """Says more or less of a picture, and looks more or less at its patches, as it is bright or dark."""

    def generate(
        self, pictures: Any, *, capture: Capture | None = None, alternatives: int = 0, **how: Any
    ) -> list[Decoding]:
        self._seen(pictures, capture)
        found = []
        for picture in pictures:
            bright = int(picture.inputs["brightness"])
            decoding = planted(SENTENCE[bright % 8 :], alternatives)
            assert decoding.attention is not None
            decoding.attention.mul_(bright / 1000)
            found.append(decoding)
        return found


def planted(tokens: Sequence[int], alternatives: int) -> Decoding:
    """Log-probabilities -0.1, -0.2, ...; the alternatives are what was said, then the tokens from 0 on."""
    count = len(tokens)
    logs = -torch.arange(1, count + 1).float() / 10
    others = torch.tensor([[token, *range(alternatives - 1)] for token in tokens])
    their = torch.stack([logs, *[torch.full((count,), -math.inf)] * (alternatives - 1)], dim=1)
    attention = torch.eye(ROWS * COLUMNS)[None, None, : count + 1].unflatten(-1, (ROWS, COLUMNS)).clone()
    return Decoding(tuple(tokens), logs, others, their, attention, tokens[-1] == 8)


def planted_family(folder: Path, model: str, config: Any) -> Planted:
    """What a row of CAPTIONER_FAMILIES points to."""
    assert (folder / "config.json").is_file() and config.model_type == "vit"
    return Planted()
