"""GIT and PaliGemma: the picture's patches stand before all words and see each other; the words look back at them.

Both may attend in ways that fused attention has not (GIT's is its own, PaliGemma 2 squashes its scores). Then attention
is written out, layer by layer, and of each layer's only the rows that are needed are kept.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.families.language_model import LanguageModelCaptioner
from regard.networks.captioners.pretrained import patch_side, token_layout, visible_box
from regard.networks.sources.huggingface_files import failures_of, quiet
from regard.records import PatchGrid


class Git(LanguageModelCaptioner):
    """GIT: the tokens of a CLIP, of the middle of the picture, then the caption, or the prompt that it goes on with."""

    fused = False

    def __init__(self, folder: Path, model: str, config: Any) -> None:
        if config.num_image_with_embedding is not None:
            raise NetworkError(
                f"{model} describes films of {config.num_image_with_embedding} pictures; give a GIT that describes one"
            )
        super().__init__(folder, model, config)
        self.decoder = self.module.git.encoder
        self.start = self.start_token(config.bos_token_id)

    @property
    def attention_modules(self) -> Sequence[nn.Module]:
        return [block.attention.self for block in self.blocks]

    @property
    def blocks(self) -> Sequence[Any]:
        return list(self.decoder.layer)

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        with quiet(), failures_of(f"the picture preparation of {self.name} cannot be loaded"):
            pixels = self.processor.image_processor(images=[image], return_tensors="pt")["pixel_values"]
        start = torch.tensor([[self.start, *self.prompt_tokens(prompt, self.limit - 1)]])
        inputs = {"pixel_values": pixels, "input_ids": start, "attention_mask": torch.ones_like(start)}
        rows, columns, _ = self.layout(inputs, 0)
        grid = PatchGrid(
            rows, columns, 1, (image.height, image.width), visible_box(self.processor.image_processor, image)
        )
        return PreparedPicture(inputs, grid, tuple(start[0].tolist()), torch.arange(1, grid.tokens))

    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        patch = patch_side(self.module.config.vision_config)
        high, wide = (side // patch for side in inputs["pixel_values"].shape[-2:])
        return high, wide, None


class PaliGemma(LanguageModelCaptioner):
    """PaliGemma 1 and 2: the patches of a SigLIP, then a prompt of their own kind ("caption en", "answer en ...")."""

    prompt = "caption en"
    caption_values = MappingProxyType({"attention_mask": 1, "token_type_ids": 1})

    def __init__(self, folder: Path, model: str, config: Any) -> None:
        super().__init__(folder, model, config)
        self.fused = getattr(self.config, "attn_logit_softcapping", None) is None
        self.window = getattr(self.config, "sliding_window", None)

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        with warnings.catch_warnings():  # its processor makes labels by a way that numpy will drop
            warnings.simplefilter("ignore", DeprecationWarning)
            prepared = super().prepare(image, self.prompt if prompt is None else prompt)
        inputs = {name: value for name, value in prepared.inputs.items() if name != "labels"}
        return replace(prepared, inputs=inputs)

    def _prompted(self, prompt: str) -> str:
        return f"{self.processor.image_token}{prompt}"

    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        patch = patch_side(self.module.config.vision_config)
        rows, columns, _ = token_layout(places, *(side // patch for side in inputs["pixel_values"].shape[-2:]))
        return rows, columns, None

    def _greedy(self, picture: PreparedPicture, limit: int, capture: Capture | None, alternatives: int) -> Decoding:
        """Judged afterwards where layers attend no further back than a window, and the first patches fall out of it:
        then the keys that are recorded on the way lie elsewhere."""
        if self.window is None or len(picture.start) + limit + 1 < self.window:
            return super()._greedy(picture, limit, capture, alternatives)
        return self.score(picture, self._search(picture, 1, limit), capture, alternatives)
