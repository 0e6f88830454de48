"""Captioners in Hugging Face's format: what their folders hold, and what they share once loaded.

Keys that are missing are an error, those that are too many are said.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor

from regard.errors import NetworkError, UsageError
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding, check_count
from regard.networks.captioners.pieces import Pieces
from regard.networks.sources.checkpoint import key_problems, listed
from regard.networks.sources.huggingface_files import PREFIX, failures_of, quiet, read_module
from regard.records import Box

USUAL = 64
"""Tokens of a caption, at most, where nothing else is asked for."""
_PARTS = {
    "vocabulary": ("tokenizer.json", "vocab.txt", "vocab.json", "*.model"),
    "picture preparation": ("preprocessor_config.json", "processor_config.json"),
}


def read_captioner(kind: Any, folder: Path, model: str) -> tuple[Any, tuple[str, ...]]:
    """The network in float32 and evaluation mode, and what there is to say of its keys."""
    module, keys = read_module(kind, folder, f"the weights of {model} cannot be loaded")
    missing = [key for key in keys["missing"] if "pooler." not in key]  # no captioner looks at what is pooled
    problems = key_problems({**keys, "missing": missing, "extra": []})
    if problems:
        raise NetworkError(f"the weights of {model} do not fit: {problems}; fetch it again")
    extra = [key for key in keys["extra"] if not key.endswith("position_ids")]
    return module.eval(), (f"dropped {listed(extra)}: {type(module).__name__} has no such part",) if extra else ()


def read_part(kind: Any, folder: Path, model: str, what: str) -> Any:
    """A tokenizer or processor of the folder."""
    with quiet(), failures_of(f"the {what} of {model} cannot be loaded"):
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def read_processor(folder: Path, model: str, kind: str) -> Any:
    """What makes a picture and a prompt into tensors, in a folder of that kind (`model_type`)."""
    require_parts(folder, model)
    # SmolVLM's own asks for a package that films alone need; pictures and prompts are Idefics3's
    owner = transformers.Idefics3Processor if kind == "smolvlm" else transformers.AutoProcessor
    return read_part(owner, folder, model, "processor")


def require_parts(folder: Path, model: str) -> None:
    """Raise `NetworkError` where a folder lacks a part, in whose place transformers would put an empty one."""
    for what, names in _PARTS.items():
        if not any(any(folder.glob(name)) for name in names):
            raise NetworkError(
                f"the {what} of {model} cannot be loaded: it has none of {', '.join(names)}; fetch it again"
            )


class PretrainedCaptioner(CaptionNetwork):
    """What all captioners of transformers share: a tokenizer, the tokens that stop, and pictures one by one."""

    decoder: Any

    def __init__(self, model: str, folder: Path, module: Any, tokenizer: Any, messages: tuple[str, ...]) -> None:
        self.module: Any = module
        self.name = model if model.startswith(PREFIX) else folder.name
        self.folder = folder
        self.architecture = type(module).__name__
        self.messages = messages
        self.tokenizer = tokenizer
        self.marks = _marks(tokenizer)

    @property
    def stops(self) -> tuple[int, ...]:
        """The tokens that end a caption."""
        stops = getattr(self.module.generation_config, "eos_token_id", None)
        return tokens_of(self.tokenizer.eos_token_id if stops is None else stops)

    def start_token(self, *settings: Any) -> int:
        """The token that captions begin with: the first of these settings that is there, else the vocabulary's own,
        which is said. Raises `NetworkError` where there is none, and for one that the decoder does not have."""
        start = next((token for each in settings for token in tokens_of(each)), None)
        if start is None:
            vocabulary = (self.tokenizer.bos_token_id, self.tokenizer.cls_token_id)
            start = next((token for token in vocabulary if token is not None), None)
            if start is None:
                raise NetworkError(
                    f"{self.name} names no token that captions begin with, and its vocabulary has none for it; write "
                    "the decoder_start_token_id that it was trained with into its generation_config.json"
                )
            self.messages = (
                *self.messages,
                f"it names no token that captions begin with: {self.tokenizer.convert_ids_to_tokens(start)} of its "
                "vocabulary is taken; if it was trained with another, write decoder_start_token_id into its "
                "generation_config.json",
            )
        known = int(self.decoder.config.vocab_size)
        if not 0 <= start < known:
            raise NetworkError(
                f"the captions of {self.name} begin with token {start}, and its decoder knows 0 to {known - 1}; mend "
                "decoder_start_token_id (or bos_token_id) in its configuration"
            )
        return int(start)

    @abstractmethod
    def caption(
        self, picture: PreparedPicture, beams: int, limit: int, capture: Capture | None, alternatives: int
    ) -> Decoding:
        """A caption of one picture: see `generate`."""

    @abstractmethod
    def score(
        self, picture: PreparedPicture, tokens: tuple[int, ...], capture: Capture | None, alternatives: int
    ) -> Decoding:
        """The caption of one picture as tokens: see `teacher_force`."""

    def generate(
        self,
        pictures: Sequence[PreparedPicture],
        *,
        beams: int = 1,
        limit: int | None = None,
        capture: Capture | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        limit = self.check(capture, beams, limit)
        return [self.caption(picture, beams, limit, capture, alternatives) for picture in pictures]

    def teacher_force(
        self,
        pictures: Sequence[PreparedPicture],
        captions: Sequence[Sequence[int]],
        *,
        capture: Capture | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        self.check(capture)
        check_count(len(pictures), captions, self.limit)
        pairs = zip(pictures, captions, strict=True)
        return [self.score(picture, tuple(map(int, tokens)), capture, alternatives) for picture, tokens in pairs]

    def pieces(self, tokens: Sequence[int]) -> Pieces:
        special = {*self.tokenizer.all_special_ids, *self.stops}
        texts = self.tokenizer.convert_ids_to_tokens(list(tokens))
        return Pieces(
            tuple("" if text is None else text for text in texts), self.marks, tuple(each in special for each in tokens)
        )

    def pieces_of(self, text: str, tokens: Sequence[int]) -> Pieces:
        pieces = self.pieces(tokens)
        if not pieces.unknown or not self.tokenizer.is_fast or pieces.marks == "bytes":
            return super().pieces_of(text, tokens)
        places = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        words = {}
        for place in pieces.unknown:
            if place < len(places):
                start, stop = places[place]
                spaced = start == 0 or text[start - 1].isspace() or text[start].isspace()
                mark = "▁" if pieces.marks == "sentencepiece" and spaced else ""
                words[place] = mark + text[start:stop].strip()
        return pieces.with_words(words)

    def text(self, tokens: Sequence[int]) -> str:
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return " ".join(text.split())

    def tokenize(self, text: str) -> list[int]:
        return [*map(int, self.tokenizer.encode(text, add_special_tokens=False)), *self.stops[:1]]

    def prompt_tokens(self, prompt: str | None, most: int) -> tuple[int, ...]:
        """A prompt that the caption goes on with. Raises `UsageError` unless it has fewer tokens than `most`."""
        tokens = self.tokenizer.encode(prompt, add_special_tokens=False) if prompt else []
        if len(tokens) >= most:
            raise UsageError(
                f"the prompt has {len(tokens)} tokens, and {self.name} takes {self.limit}; shorten the prompt"
            )
        return tuple(map(int, tokens))

    def decoding_of(
        self, tokens: Sequence[int], logits: Tensor, attention: Tensor | None, alternatives: int
    ) -> Decoding:
        """A caption with its logits (tokens, vocabulary) and attention (layers, heads, tokens + 1, rows, columns)."""
        if not 0 <= alternatives <= logits.shape[-1]:
            raise UsageError(f"{alternatives} alternatives are out of range; there may be 0 to {logits.shape[-1]}")
        steps = logits.detach().float().cpu().log_softmax(-1)
        if steps.isnan().any():
            raise NetworkError(
                "the network gave values that are no numbers (NaN); its weights or the picture are damaged"
            )
        logs = steps.gather(1, torch.tensor(tokens)[:, None])[:, 0]
        values, indices = steps.topk(alternatives)
        return Decoding(tuple(tokens), logs, indices, values, attention, tokens[-1] in self.stops)

    def generation_settings(self, beams: int, limit: int, **more: Any) -> Any:
        """How transformers generates: without sampling, so that the same picture has the same caption."""
        padding = next(token for token in (self.tokenizer.pad_token_id, *self.stops[:1], 0) if token is not None)
        return transformers.GenerationConfig(
            **{
                "do_sample": False,
                "num_beams": beams,
                "max_new_tokens": limit,
                "eos_token_id": list(self.stops) or None,
                "pad_token_id": int(padding),
                "return_dict_in_generate": True,
                **more,
            }
        )


def tokens_of(setting: Any) -> tuple[int, ...]:
    """A setting of transformers that is a token, several, or None, as tokens."""
    if setting is None:
        return ()
    return tuple(setting) if isinstance(setting, list | tuple) else (int(setting),)


def _marks(tokenizer: Any) -> str:
    """Which kind of vocabulary it is, by the marks that its pieces bear."""
    counts = dict.fromkeys(("##", "Ġ", "▁"), 0)
    for piece in tokenizer.get_vocab():
        for mark in counts:
            counts[mark] += piece.startswith(mark)
    names = {"##": "wordpiece", "Ġ": "bytes", "▁": "sentencepiece"}
    return names[max(counts, key=lambda mark: counts[mark])]


def visible_box(processor: Any, image: Image.Image) -> Box:
    """The part of a user's picture that an image processor keeps, as (left, top, right, bottom) in its pixels.

    More than the picture where the processor first pads it to a square, as LLaVA's may.
    """
    if not (getattr(processor, "do_pad", False) and hasattr(processor, "pad_to_square")):
        return _cropped(processor, image.size)
    side = max(image.size)
    across = (side - image.width) // 2
    down = (side - image.height) // 2
    left, top, right, bottom = _cropped(processor, (side, side))
    return left - across, top - down, right - across, bottom - down


def _cropped(processor: Any, picture: tuple[int, int]) -> Box:
    size = getattr(processor, "size", None) or {}
    crop = getattr(processor, "crop_size", None) or {}
    width, height = picture
    if not getattr(processor, "do_center_crop", False) or not crop:
        return 0.0, 0.0, float(width), float(height)
    short = size.get("shortest_edge")
    if short and getattr(processor, "do_resize", True):
        across = down = min(picture) / short  # the user's pixels for one of the resized picture's
    elif getattr(processor, "do_resize", True):
        across = width / size["width"]
        down = height / size["height"]
    else:
        across = down = 1.0
    wide = crop["width"] * across
    high = crop["height"] * down
    left = (width - wide) / 2
    top = (height - high) / 2
    return left, top, left + wide, top + high


def patch_side(config: Any) -> int:
    """Pixels of a patch's side, by an encoder's configuration. Raises `NetworkError` where patches are not square."""
    size = getattr(config, "patch_size", None)
    if not isinstance(size, int):
        raise NetworkError(
            f"the encoder, of the kind {config.model_type!r}, has no square patches (its patch size is {size}); give a "
            "network whose encoder has, like a CLIP or a SigLIP"
        )
    return size


def token_layout(patches: int, rows: int, columns: int) -> tuple[int, int, int]:
    """How the tokens of an encoder lie: (rows, columns, tokens before them), halved as often as its stages do.

    Raises `NetworkError` where no grid of patches fits.
    """
    for halved in range(int(math.log2(max(1, min(rows, columns)))) + 1):
        high = rows >> halved
        wide = columns >> halved
        if 0 <= patches - high * wide <= 8:
            return high, wide, patches - high * wide
    raise NetworkError(
        f"the encoder gives {patches} tokens, which are no grid of {rows} × {columns} patches (nor a half of it); give "
        "a network whose encoder has a patch grid, like a ViT, DeiT, BEiT or Swin"
    )
