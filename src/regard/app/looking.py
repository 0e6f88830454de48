"""How words are looked at: a method of METHODS that makes maps of them, with its settings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.errors import UsageError, unknown
from regard.explanation import METHODS, Method
from regard.explanation.words.alignment import ROWS
from regard.explanation.words.methods import check_fits
from regard.networks.captioners.base import CaptionNetwork, Capture, PreparedPicture

CAPTURED = "cross_attention"
"""The method whose maps are captured while a caption comes about; others look at the finished one."""


@dataclass(frozen=True)
class Look:
    """A method and what it was asked for, None where nothing was."""

    method: Method
    row: str
    layer: int | None
    head: int | None
    start: int | None

    @classmethod
    def of(cls, method: str, row: str, layer: int | None, head: int | None, start: int | None) -> "Look":
        """Check the options. Raises `UsageError` for a method that is not of words, or takes no such setting."""
        words = [each.name for each in METHODS if each.kind == "word"]
        if method not in METHODS:
            raise unknown("method", method, words)
        if method not in words:
            raise UsageError(f"{method} makes maps of pictures, not of words; for words there are {', '.join(words)}")
        if row not in ROWS:
            raise unknown("row", row, ROWS)
        asked = {"row": None if row == ROWS[0] else row, "layer": layer, "head": head, "start": start}
        for name, value in asked.items():
            if value is not None and name not in METHODS[method].settings:
                raise UsageError(f"{method} takes no --{name}; leave it out, or choose another --method")
        return cls(METHODS[method], row, layer, head, start)

    def check(self, captioner: CaptionNetwork) -> None:
        """Raise `UsageError` for what this captioner cannot do: the method, a layer, a head."""
        check_fits(self.method.name, captioner)
        captioner.check(Capture(self.layer, "mean" if self.head is None else self.head))

    def maps(self, captioner: CaptionNetwork, picture: PreparedPicture, tokens: Sequence[int], row: str) -> Tensor:
        """(tokens, rows, columns): the maps of a finished caption."""
        asked = {"row": row, "layer": self.layer, "head": self.head, "start": self.start}
        given = {name: value for name, value in asked.items() if name in self.method.settings and value is not None}
        found = METHODS.load(self.method.name)(captioner, picture, tokens, **given)
        return torch.from_numpy(np.array(found, np.float32))  # a copy, as a method's own may be read-only
