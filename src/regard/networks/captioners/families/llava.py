"""LLaVA and LLaVA-NeXT: the patches of a CLIP, or of tiles of the picture, among the tokens of a prompt."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.models.llava_next.modeling_llava_next import unpad_image

from regard.errors import NetworkError
from regard.networks.captioners.base import PreparedPicture
from regard.networks.captioners.families.language_model import LanguageModelCaptioner
from regard.networks.captioners.pretrained import patch_side, token_layout, visible_box
from regard.records import Box


class Llava(LanguageModelCaptioner):
    """LLaVA: one square of patches, of the middle of the picture where its processor crops."""

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        prepared = super().prepare(image, prompt)
        return replace(prepared, grid=replace(prepared.grid, box=self._box(image)))

    def _box(self, image: Image.Image) -> Box:
        return visible_box(self.processor.image_processor, image)

    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        patch = patch_side(self.module.config.vision_config)
        rows, columns, before = token_layout(places, *(side // patch for side in inputs["pixel_values"].shape[-2:]))
        return rows, columns, after_prefix(before, rows * columns) if before else None


def after_prefix(before: int, patches: int) -> Tensor:
    """(tokens, patches): patches that stand behind tokens, a CLS say, which lie nowhere: their rows are zero."""
    return torch.cat([torch.zeros(before, patches), torch.eye(patches)])


@dataclass(frozen=True)
class _Tiling:
    """LLaVA-NeXT's patches of tiles: those that hold the picture, `rows` × `columns`, cover `box` of it."""

    rows: int
    columns: int
    box: Box

    @classmethod
    def of(cls, picture: tuple[int, int], config: Any) -> "_Tiling":
        """`picture` is (height, width); it is enlarged to fit a number of tiles, and what is beside it is cut away."""
        patch = patch_side(config.vision_config)
        tile = config.vision_config.image_size
        target = select_best_resolution(picture, config.image_grid_pinpoints)
        rows, columns = (side // tile * (tile // patch) for side in target)
        inside = unpad_image(torch.arange(rows * columns).view(1, rows, columns), picture)[0]  # (rows, columns) left
        top, left = divmod(int(inside[0, 0]), columns)
        high, wide = get_patch_output_size(torch.empty(1, *picture, device="meta"), target, "channels_first")
        down = picture[0] / high  # the user's pixels for one of the enlarged picture's
        across = picture[1] / wide
        upper = top * patch - (target[0] - high) // 2
        outer = left * patch - (target[1] - wide) // 2
        lower = upper + inside.shape[0] * patch
        right = outer + inside.shape[1] * patch
        return cls(inside.shape[0], inside.shape[1], (outer * across, upper * down, right * across, lower * down))

    def spread(self, side: int, picture: tuple[int, int]) -> Tensor:
        """(tokens, patches): side × side tokens of the whole picture, then rows of patches with each line's end."""
        left, top, right, bottom = self.box
        whole = torch.kron(
            _overlaps(side, 0, picture[0], self.rows, top, bottom),
            _overlaps(side, 0, picture[1], self.columns, left, right),
        )
        cells = torch.eye(self.rows * self.columns).unflatten(0, (self.rows, self.columns))
        lines = torch.cat([cells, torch.zeros(self.rows, 1, self.rows * self.columns)], dim=1)
        return torch.cat([whole, lines.flatten(0, 1)])


def _overlaps(one: int, low: float, high: float, two: int, start: float, end: float) -> Tensor:
    """(one, two): the share of each of `one` equal stretches of low..high that lies in each of `two` of start..end.

    Shares of what lies in any of them, so that each row sums to one.
    """
    first = torch.linspace(low, high, one + 1)
    second = torch.linspace(start, end, two + 1)
    shared = torch.minimum(first[1:, None], second[1:]) - torch.maximum(first[:-1, None], second[:-1])
    shared = shared.clamp(min=0)
    return shared / shared.sum(1, keepdim=True).clamp(min=1e-6)


class LlavaNext(Llava):
    """LLaVA-NeXT: the whole picture, squashed, then tiles of it, without what fills them up beside the picture.

    The map is on the tiles' grid; what goes to a token of the whole picture spreads evenly over what lies under it, and
    what goes to the end of a line of patches lies nowhere.
    """

    def _box(self, image: Image.Image) -> Box:
        return _Tiling.of((image.height, image.width), self.module.config).box

    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        high, wide = map(int, inputs["image_sizes"][0].tolist())
        vision = self.module.config.vision_config
        tiling = _Tiling.of((high, wide), self.module.config)
        spread = tiling.spread(vision.image_size // vision.patch_size, (high, wide))
        if len(spread) != places:
            raise NetworkError(
                f"the {places} tokens of the picture are not those of {tiling.rows} × {tiling.columns} patches, the "
                f"ends of their lines and the whole picture ({len(spread)}); give a LLaVA-NeXT whose processor and "
                "encoder have the same patches"
            )
        return tiling.rows, tiling.columns, spread
