"""One face for all captioners: a picture is prepared, described word by word, or made to bear a given caption.

What comes back is a `Decoding`, whatever the network: tokens, probabilities, alternatives, and the attention to the
picture's patches, whose row i predicts token i and row i + 1 reads it. `FAMILIES` says which networks can caption.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from regard.errors import NetworkError, UsageError
from regard.networks.captioners.catr import PUBLIC, load_catr
from regard.networks.captioners.decoder_pass import DecoderPass, decoder_pass
from regard.networks.captioners.decoding import CaptionModule, Decoding
from regard.networks.captioners.pieces import Pieces
from regard.networks.guard import borrowed, usable
from regard.networks.run import CAPTIONING, task_of
from regard.networks.sources.checkpoint import tensors_hash
from regard.networks.sources.shipped import CAPTIONERS
from regard.networks.sources.shipped import folder_of as folder_of_shipped
from regard.records import PatchGrid

Head = int | Literal["mean"] | None

FAMILIES = {
    "vision-encoder-decoder": "regard.networks.captioners.families.cross_attention:VisionEncoderDecoder",
    "blip": "regard.networks.captioners.families.cross_attention:Blip",
    "idefics3": "regard.networks.captioners.families.language_model:Idefics",
    "smolvlm": "regard.networks.captioners.families.language_model:Idefics",
    "qwen2_vl": "regard.networks.captioners.families.language_model:Qwen",
    "qwen2_5_vl": "regard.networks.captioners.families.language_model:Qwen",
    "qwen3_vl": "regard.networks.captioners.families.language_model:Qwen",
    "blip-2": "regard.networks.captioners.families.blip2:blip2",
    "git": "regard.networks.captioners.families.prefix:Git",
    "paligemma": "regard.networks.captioners.families.prefix:PaliGemma",
    "florence2": "regard.networks.captioners.families.joint_encoder:Florence2",
    "llava": "regard.networks.captioners.families.llava:Llava",
    "llava_next": "regard.networks.captioners.families.llava:LlavaNext",
}
"""The kinds (`model_type`) of Hugging Face networks that can caption, and the class that is their face."""


@dataclass(frozen=True)
class Capture:
    """Which attention is kept: of one `layer`, from 0, or all (None); of one `head`, all (None), or their mean."""

    layer: int | None = None
    head: Head = "mean"

    def of(self, attention: Tensor) -> Tensor:
        """(layers, heads, ...) → those kept, with one head where there is a mean."""
        if self.layer is not None:
            attention = attention[self.layer : self.layer + 1]
        return self.heads(attention, 1)

    def heads(self, attention: Tensor, axis: int) -> Tensor:
        """The heads kept, along an axis, which stays."""
        if self.head == "mean":
            return attention.mean(axis, keepdim=True)
        return attention if self.head is None else attention.narrow(axis, self.head, 1)

    def has(self, layer: int) -> bool:
        """Whether a layer is kept."""
        return self.layer in (None, layer)


@dataclass(frozen=True)
class PreparedPicture:
    """A picture as a captioner takes it: tensors by name, `start` the tokens that the caption follows, and its grid."""

    inputs: Mapping[str, Tensor]
    grid: PatchGrid
    start: tuple[int, ...] = ()
    places: Tensor | None = None
    spread: Tensor | None = None


class CaptionNetwork(ABC):
    """A network that describes pictures. `limit` is the most tokens of a caption, `default_limit` the usual most.

    `layers` and `heads` count those of the attention that is shown; `messages` is what loading had to say.
    """

    name: str
    architecture: str
    layers: int
    heads: int
    limit: int
    default_limit: int
    messages: tuple[str, ...] = ()
    module: torch.nn.Module
    takes_prompts = True

    @abstractmethod
    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        """An upright RGB picture, and what the caption shall begin with or answer, as the network takes them."""

    @abstractmethod
    def generate(
        self,
        pictures: Sequence[PreparedPicture],
        *,
        beams: int = 1,
        limit: int | None = None,
        capture: Capture | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        """A caption for each picture: greedy with one beam, else the best that `beams` open ones lead to.

        The attention, where some is to be `kept`, is (layers, heads, tokens + 1, rows, columns). Raises `UsageError`
        for numbers out of range.
        """

    @abstractmethod
    def teacher_force(
        self,
        pictures: Sequence[PreparedPicture],
        captions: Sequence[Sequence[int]],
        *,
        capture: Capture | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        """The same for captions that are given, as tokens with the stop where it is to be judged too."""

    @abstractmethod
    def pieces(self, tokens: Sequence[int]) -> Pieces:
        """The pieces of a caption as the vocabulary has them."""

    @abstractmethod
    def text(self, tokens: Sequence[int]) -> str:
        """A caption as a person writes it."""

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The tokens of a caption that is to follow the start, with the stop."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What methods can ask of it: its "attention" and "gradients", a "decoder" that looks at the picture by
        attention of its own, "picture tokens" among those of a language model."""
        own = ("decoder",) if isinstance(self.module, CaptionModule) else ()
        return frozenset(("attention", "gradients", *own))

    def decoder_pass(self, picture: PreparedPicture, tokens: Sequence[int], layers: Sequence[int]) -> DecoderPass:
        """One pass over a given caption through which gradients flow, which must be on; the attention is that of
        `layers`, in rising order. Raises `UsageError` where there is no decoder."""
        if not isinstance(self.module, CaptionModule):
            raise UsageError(f"{self.name} has no decoder with attention of its own to the picture")
        with borrowed(self.module, frozen=True):
            with torch.no_grad():
                memory = self.module.encode(picture.inputs["pixels"][None].to(self.device))
            return decoder_pass(self.module, memory, tokens, layers)

    def token_logits(self, picture: PreparedPicture, tokens: Sequence[int], of: Sequence[int]) -> Tensor:
        """(of, prompt + tokens) float32 on the CPU: the logits of some tokens of the vocabulary at every place of the
        prompt, the picture's tokens among them, and of a given caption. Raises `UsageError` without picture tokens."""
        raise UsageError(f"{self.name} has no tokens of the picture among those of a language model")

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def weights_hash(self) -> str:
        """SHA-256 over all weights: see `tensors_hash`."""
        return tensors_hash(self.module.state_dict())

    def origin(self) -> dict[str, Any]:
        """What a result says of the captioner that it came from, as JSON."""
        return {"network": self.name, "architecture": self.architecture, "weights_sha256": self.weights_hash()}

    def check(self, capture: Capture | None, beams: int = 1, limit: int | None = None) -> int:
        """The length limit that holds. Raises `UsageError` for a layer, head, limit or beams that there are not."""
        if capture is not None:
            _in_range("layer", capture.layer, self.layers)
            _in_range("head", None if capture.head == "mean" else capture.head, self.heads)
        if beams < 1:
            raise UsageError(f"{beams} beams are none; there must be at least 1 (3 to 5 are usual)")
        limit = self.default_limit if limit is None else limit
        if not 1 <= limit <= self.limit:
            raise UsageError(f"a length limit of {limit} tokens is out of range; it goes from 1 to {self.limit}")
        return limit


def _in_range(what: str, came: int | None, count: int) -> None:
    if came is not None and not 0 <= came < count:
        raise UsageError(f"there is no {what} {came}; they go from 0 to {count - 1}")


def load_caption_network(model: str | Path, device: str | torch.device | None = None) -> CaptionNetwork:
    """The captioner that `model` names: a run of `regard train --task caption`, a public CATR or its file, a Hugging
    Face folder, or `hf:ID`.

    Raises `UsageError` for what cannot caption, with what can, and `NetworkError` for what cannot be loaded.
    """
    captioner = _load(str(model))
    if device is not None:
        with usable(device):
            captioner.module.to(device)
    return captioner


def _load(model: str) -> CaptionNetwork:
    from regard.networks.captioners.families.catr import CatrCaptioner
    from regard.networks.sources.huggingface_files import folder_of, is_huggingface

    path = Path(model)
    run = folder_of_shipped(model)
    if task_of(run) == CAPTIONING:
        from regard.networks.captioners.run import load_captioner_run

        return load_captioner_run(run, path.name)
    if model in PUBLIC or path.is_file():
        return CatrCaptioner(*load_catr(model), name=model if model in PUBLIC else path.stem)
    if is_huggingface(model):
        return _of_family(model, folder_of(model))
    if path.suffix in (".pth", ".pt", ".bin", ".safetensors"):
        raise NetworkError(f"no checkpoint at {model}: there is no such file; check the path")
    raise UsageError(f"{model} is no network that can caption; {_those_that_can()}")


def _of_family(model: str, folder: Path) -> CaptionNetwork:
    from regard.networks.sources.huggingface_files import read_config

    config = read_config(folder, f"the configuration of {model} cannot be loaded")
    if config.model_type not in FAMILIES:
        raise UsageError(f"{model} is of the kind {config.model_type!r}, which cannot caption; {_those_that_can()}")
    module, name = FAMILIES[config.model_type].split(":")
    kind: Any = getattr(import_module(module), name)
    captioner: CaptionNetwork = kind(folder, model, config)
    return captioner


def _those_that_can() -> str:
    named = ", ".join((*CAPTIONERS, *PUBLIC))
    return (
        f"give {named}, a run of `regard train --task caption`, a CATR checkpoint, or hf:ID or a folder of one of "
        f"{', '.join(FAMILIES)}"
    )
