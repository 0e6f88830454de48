"""CATR behind the face of all captioners."""

import math
from dataclasses import asdict

from torch import Tensor

from regard.data.images.longest_side import LongestSide
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.captioners.catr import KIND, STRIDE, Catr, grid_of
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.captioners.wordpiece import WordPiece
from regard.records import PatchGrid


class CatrCaptioner(TrainableCaptioner):
    """CATR with its vocabulary and preparation, for pictures of any shape."""

    architecture = "CATR"

    def __init__(
        self,
        module: Catr,
        messages: tuple[str, ...] = (),
        *,
        name: str = "catr",
        vocabulary: WordPiece | None = None,
        preparation: LongestSide | None = None,
    ) -> None:
        sizes = module.shape.decoder_layers, module.shape.heads
        super().__init__(module, vocabulary or WordPiece.load(), name, sizes, messages)
        self.preparation: LongestSide = preparation or LongestSide()
        self.description = {"kind": KIND, "name": "CATR", "arguments": asdict(module.shape)}

    @property
    def anatomy(self) -> Anatomy:
        return Anatomy()

    def head_paths(self) -> tuple[str, ...]:
        return ("input_proj", "transformer", "mlp")

    def grid(self, size: tuple[int, int], pixels: Tensor) -> PatchGrid:
        rows, columns = (math.ceil(side / STRIDE) for side in pixels.shape[1:])
        return grid_of(self.preparation, size, rows, columns)
