"""BLIP-2: the words look at query tokens, and the query tokens look at the picture.

A Q-Former's queries gather the picture by cross-attention, and only they are read by the language model. A map over
patches is what goes to the queries, times where each query looked: rows over queries @ the mean, over all layers of the
Q-Former that have cross-attention and all their heads, of each query's attention to the patches (without CLS, so that a
row sums to less than one). Of one layer and head of the language model, as everywhere, but of no single layer of the
Q-Former; that queries also exchange what they gathered is left out, as is what the patches exchange in the encoder.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.captioners.base import CaptionNetwork, Capture, PreparedPicture
from regard.networks.captioners.families.cross_attention import written_out
from regard.networks.captioners.families.joint_encoder import JointEncoderCaptioner
from regard.networks.captioners.families.language_model import LanguageModelCaptioner, Rows
from regard.networks.captioners.pretrained import USUAL, patch_side


def blip2(folder: Path, model: str, config: Any) -> CaptionNetwork:
    """BLIP-2 with a language model that continues (OPT), or one that reads and writes (Flan-T5)."""
    kind = Blip2Continuing if config.use_decoder_only_language_model else Blip2Reading
    return kind(folder, model, config)


@dataclass
class _Hop:
    """Where the queries look: (1, heads, queries, CLS and patches) of each layer with cross-attention."""

    layers: list[Tensor] = field(default_factory=list)

    def note(self, part: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> None:
        self.layers.append(output[1])

    def mean(self) -> Tensor:
        """(queries, patches), over layers and heads, CLS left out."""
        return torch.cat(self.layers).mean((0, 1))[:, 1:]


@contextmanager
def _hopping(qformer: Any) -> Iterator[_Hop]:
    """Inside, the cross-attention of the Q-Former is written out and noted."""
    hop = _Hop()
    parts = [layer.crossattention.attention for layer in qformer.encoder.layer if layer.has_cross_attention]
    handles = [part.register_forward_hook(hop.note) for part in parts]
    try:
        with written_out(qformer, True):
            yield hop
    finally:
        for handle in handles:
            handle.remove()


def _grid(module: Any, high: int, wide: int, places: int) -> tuple[int, int]:
    """(rows, columns) of the patches of a picture. Raises `NetworkError` where it has not one place for each query."""
    if places != module.config.num_query_tokens:
        raise NetworkError(
            f"the processor makes {places} places for the {module.config.num_query_tokens} query tokens of BLIP-2; "
            "fetch its processor again, which must know num_query_tokens"
        )
    patch = patch_side(module.config.vision_config)
    return high // patch, wide // patch


def _stops(module: Any) -> tuple[int, ...]:
    """The tokens that stop, which are those of the language model's own generation."""
    found = module.language_model.generation_config.eos_token_id
    return tuple(found) if isinstance(found, list | tuple) else () if found is None else (int(found),)


class Blip2Continuing(LanguageModelCaptioner):
    """BLIP-2 with OPT: the queries stand before a prompt, and the caption goes on with it."""

    def __init__(self, folder: Path, model: str, config: Any) -> None:
        super().__init__(folder, model, config)
        self.decoder = self.module.language_model.get_decoder()

    @property
    def stops(self) -> tuple[int, ...]:
        return _stops(self.module) or super().stops

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        return super().prepare(image, prompt or "")

    def _asked(self, prompt: str) -> str:
        return prompt

    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        high, wide = inputs["pixel_values"].shape[-2:]
        return *_grid(self.module, high, wide, places), None

    @contextmanager
    def _heard(self, picture: PreparedPicture, capture: Capture | None, count: int) -> Iterator[Rows | None]:
        with super()._heard(picture, capture, count) as rows:
            if rows is None:
                yield None
                return
            with _hopping(self.module.qformer) as hop:
                yield rows
            carried = hop.mean()
            rows.found = {layer: [each @ carried for each in found] for layer, found in rows.found.items()}


class Blip2Reading(JointEncoderCaptioner):
    """BLIP-2 with Flan-T5: queries and prompt are read together, and the caption answers."""

    def __init__(self, folder: Path, model: str, config: Any) -> None:
        super().__init__(transformers.Blip2ForConditionalGeneration, folder, model, config)
        text = config.text_config
        self.decoder = self.module.language_model.decoder
        self.layers, self.heads = text.num_decoder_layers, text.num_heads
        self.limit = int(text.n_positions) - 1
        self.default_limit = min(USUAL, self.limit)
        self.start = int(text.decoder_start_token_id)
        self.begun = (self.start,)

    @property
    def stops(self) -> tuple[int, ...]:
        return _stops(self.module) or super().stops

    @property
    def writer(self) -> Any:
        return self.module.language_model

    def layout(self, high: int, wide: int, places: int) -> tuple[int, int, int]:
        return *_grid(self.module, high, wide, places), 0

    def look(self, picture: PreparedPicture) -> tuple[PreparedPicture, Tensor]:
        with _hopping(self.module.qformer) as hop:
            looked, read = super().look(picture)
        return replace(looked, spread=hop.mean()), read
