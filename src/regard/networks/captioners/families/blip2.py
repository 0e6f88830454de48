"""BLIP-2: the words look at query tokens, and the query tokens look at the picture.

A Q-Former's queries gather the picture by cross-attention, and only they are read by the language model. A map over
patches is what goes to the queries, times where each query looked: rows over queries @ the mean, over all layers of the
Q-Former that have cross-attention and all their heads, of each query's attention to the patches (without CLS, so that a
row sums to less than one). Of one layer and head of the language model, as everywhere, but of no single layer of the
Q-Former; that queries also exchange what they gathered is left out, as is what the patches exchange in the encoder.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import transformers
from PIL import Image
from torch import Tensor

from regard.errors import NetworkError
from regard.networks.captioners.attention import Capture, RowRecorder
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.families.joint_encoder import JointEncoderCaptioner
from regard.networks.captioners.families.language_model import LanguageModelCaptioner
from regard.networks.captioners.pretrained import USUAL, patch_side, tokens_of
from regard.networks.guard import borrowed


def blip2(folder: Path, model: str, config: Any) -> CaptionNetwork:
    """BLIP-2 with a language model alone (OPT), or an encoder and a decoder (Flan-T5)."""
    kind = Blip2Opt if config.use_decoder_only_language_model else Blip2T5
    return kind(folder, model, config)


@contextmanager
def _query_maps(module: Any) -> Iterator[Callable[[], Tensor]]:
    """Inside, the cross-attention of the Q-Former is recorded; what it yields then gives (queries, patches): where each
    query looked, over layers and heads, CLS left out."""
    qformer = module.qformer
    attentions = [layer.crossattention.attention for layer in qformer.encoder.layer if layer.has_cross_attention]
    recorder = RowRecorder(attentions, qformer.config.num_attention_heads, Capture(None, None))
    with borrowed(qformer) as hooks:
        recorder.attach(hooks)
        yield lambda: recorder.attention().mean((0, 1, 2))[:, 1:]


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
    return tokens_of(module.language_model.generation_config.eos_token_id)


class Blip2Opt(LanguageModelCaptioner):
    """BLIP-2 with OPT: the queries stand before a prompt, and the caption goes on with it."""

    def __init__(self, folder: Path, model: str, config: Any) -> None:
        super().__init__(folder, model, config)
        self.decoder = self.module.language_model.get_decoder()

    @property
    def stops(self) -> tuple[int, ...]:
        return _stops(self.module) or super().stops

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        return super().prepare(image, prompt or "")

    def _prompted(self, prompt: str) -> str:
        return prompt

    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        high, wide = inputs["pixel_values"].shape[-2:]
        return *_grid(self.module, high, wide, places), None

    @contextmanager
    def _recording(
        self, picture: PreparedPicture, capture: Capture | None, count: int, kind: type[RowRecorder] = RowRecorder
    ) -> Iterator[RowRecorder | None]:
        with super()._recording(picture, capture, count, kind) as recorder:
            if recorder is None:
                yield None
                return
            with _query_maps(self.module) as maps:
                yield recorder
            recorder.project(maps())


class Blip2T5(JointEncoderCaptioner):
    """BLIP-2 with Flan-T5: queries and prompt are encoded together, and the caption answers."""

    def __init__(self, folder: Path, model: str, config: Any) -> None:
        super().__init__(transformers.Blip2ForConditionalGeneration, folder, model, config)
        text = config.text_config
        self.decoder = self.module.language_model.decoder
        self.layers = text.num_decoder_layers
        self.heads = text.num_heads
        self.limit = int(text.n_positions) - 1
        self.default_limit = min(USUAL, self.limit)
        self.start = self.start_token(text.decoder_start_token_id)
        self.start_tokens = (self.start,)

    @property
    def stops(self) -> tuple[int, ...]:
        return _stops(self.module) or super().stops

    @property
    def language_model(self) -> Any:
        return self.module.language_model

    def layout(self, high: int, wide: int, places: int) -> tuple[int, int, int]:
        return *_grid(self.module, high, wide, places), 0

    def encoder_states(self, picture: PreparedPicture) -> tuple[PreparedPicture, Tensor]:
        with _query_maps(self.module) as maps:
            encoded, states = super().encoder_states(picture)
        return replace(encoded, spread=maps()), states
