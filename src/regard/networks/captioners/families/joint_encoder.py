"""Encoder-decoders that encode a picture and a prompt together, and whose decoder attends to both: Florence-2.

A map is the part of the decoder's cross-attention that goes to the picture's tokens. These have been through the
encoder, which mixes them.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import transformers
from PIL import Image
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from regard.errors import NetworkError, UsageError
from regard.networks.captioners.base import PreparedPicture
from regard.networks.captioners.families.cross_attention import CrossAttentionCaptioner, cache_arguments
from regard.networks.captioners.pretrained import USUAL, read_processor, visible_box
from regard.networks.sources.huggingface_files import failures_of, quiet
from regard.records import PatchGrid


class JointEncoderCaptioner(CrossAttentionCaptioner):
    """What all kinds share. `start_tokens` come before every caption; `image_token` is each token of the picture."""

    start_tokens: tuple[int, ...]
    prompt = ""
    """The prompt where none is given."""

    def __init__(self, kind: Any, folder: Path, model: str, config: Any) -> None:
        super().__init__(kind, folder, model)
        self.prompt_processor = read_processor(folder, model, config.model_type)
        self.image_token = -1 if config.image_token_id is None else int(config.image_token_id)

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        prompt = self.prompt if prompt is None else prompt
        with quiet(), failures_of(f"the picture preparation of {self.name} cannot be loaded"):
            inputs = dict(self.prompt_processor(images=[image], text=[prompt], return_tensors="pt"))
        tokens = inputs["input_ids"][0]
        places = (tokens == self.image_token).nonzero()[:, 0]
        if len(tokens) > self.limit:
            raise UsageError(
                f"picture and prompt are {len(tokens)} tokens for {self.name}, which takes {self.limit}; shorten the "
                "prompt"
            )
        high, wide = inputs["pixel_values"].shape[-2:]
        rows, columns, before = self.layout(high, wide, len(places))
        grid = PatchGrid(rows, columns, 0, (image.height, image.width), visible_box(self.processor, image))
        return PreparedPicture(inputs, grid, self.start_tokens, places[before:])

    @abstractmethod
    def layout(self, high: int, wide: int, places: int) -> tuple[int, int, int]:
        """(rows, columns) of the picture's patches, and how many of its tokens before them lie nowhere."""

    def encoder_states(self, picture: PreparedPicture) -> tuple[PreparedPicture, Tensor]:
        encoded, patches = super().encoder_states(picture)
        tokens = picture.inputs["input_ids"].to(self.device)
        embedded = self.module.get_input_embeddings()(tokens)
        embedded = embedded.masked_scatter((tokens == self.image_token)[..., None], patches)  # (1, tokens, width)
        states: Tensor = self.language_model.get_encoder()(inputs_embeds=embedded).last_hidden_state
        return encoded, states

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """(1, 3, height, width) → the picture's tokens among those that are encoded, (1, tokens, width)."""
        tokens: Tensor = self.module.get_image_features(pixels).pooler_output
        return tokens

    @property
    def encoder_config(self) -> Any:
        return self.module.config.vision_config

    @property
    @abstractmethod
    def language_model(self) -> Any:
        """The encoder of all tokens and the decoder, as one network."""

    def to_patches(self, rows: Tensor, picture: PreparedPicture) -> Tensor:
        rows = rows[..., picture.places]
        return rows if picture.spread is None else rows @ picture.spread

    def generate_tokens(self, states: Tensor, start: Tensor, settings: Any) -> Any:
        """transformers itself forces what follows the first of the start; a stop at the limit is not forced, as it
        would hide that there was one."""
        settings.max_new_tokens += start.shape[1] - 1
        outputs = BaseModelOutput(last_hidden_state=states)
        return self.language_model.generate(
            encoder_outputs=outputs,
            decoder_input_ids=start[:, :1],
            generation_config=settings,
            forced_eos_token_id=None,
        )

    def decode_tokens(self, states: Tensor, tokens: Tensor, attentions: bool, memory: Any = None) -> Any:
        outputs = BaseModelOutput(last_hidden_state=states)
        return self.language_model(
            encoder_outputs=outputs, decoder_input_ids=tokens, output_attentions=attentions, **cache_arguments(memory)
        )


class Florence2(JointEncoderCaptioner):
    """Florence-2, whose DaViT halves its grid at each stage. Its prompts are tasks, `<CAPTION>`, `<DETAILED_CAPTION>`,
    or plain sentences. Before the patches stands their mean, which lies nowhere.

    Its convolutions overlap, and what a patch sees has its middle at the patch's upper left corner, as in a ResNet's
    grid; maps are laid over the whole picture all the same, so they are half a patch off.
    """

    prompt = "<CAPTION>"

    def __init__(self, folder: Path, model: str, config: Any) -> None:
        super().__init__(transformers.Florence2ForConditionalGeneration, folder, model, config)
        text = config.text_config
        self.decoder = self.module.model.language_model.decoder
        self.layers = text.decoder_layers
        self.heads = text.decoder_attention_heads
        self.limit = int(text.max_position_embeddings) - 1
        self.default_limit = min(USUAL, self.limit)
        self.start = self.start_token(text.decoder_start_token_id)
        forced = getattr(self.module.generation_config, "forced_bos_token_id", None)
        self.start_tokens = (self.start,) if forced is None else (self.start, int(forced))

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        for task in self.prompt_processor.task_prompts_without_inputs:
            if prompt is not None and task in prompt and prompt != task:
                raise UsageError(
                    f"the prompt {prompt!r} has {task} and more; give {self.name} {task} alone, or a plain sentence"
                )
        return super().prepare(image, prompt)

    @property
    def language_model(self) -> Any:
        return self.module

    def layout(self, high: int, wide: int, places: int) -> tuple[int, int, int]:
        vision = self.module.config.vision_config
        for size, stride, padding in zip(vision.patch_size, vision.patch_stride, vision.patch_padding, strict=True):
            high, wide = ((side + 2 * padding - size) // stride + 1 for side in (high, wide))
        if high * wide + 1 != places:
            raise NetworkError(
                f"the {places} tokens of the picture are not the mean and {high} × {wide} patches; give a Florence-2 "
                "whose processor and encoder have the same patches"
            )
        return high, wide, 1
