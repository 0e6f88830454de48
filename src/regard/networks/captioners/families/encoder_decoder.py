"""A captioner that is trained here: the encoder of a network of timm, and a small decoder.

    pixels → encoder → patches → norm, linear → Memory      once for each picture
    tokens → embeddings → decoder (attends to Memory) → head → logits    once for each token, with a cache

The decoder is CATR's (`transformer.py`), with as many layers as one wants; the patches' places are given to its keys
again, by sines of their row and column, so that a word can be looked for where it must be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.anatomy.description import describe
from regard.networks.captioners.base import PreparedPicture
from regard.networks.captioners.decoding import CaptionModule, check_sizes, teacher_force
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.captioners.transformer import Cache, Decoder, Embeddings, Memory, sine_positions
from regard.networks.captioners.wordpiece import WordPiece
from regard.networks.guard import borrowed
from regard.networks.network import Network
from regard.networks.precision import computing
from regard.networks.sources.build import Architecture, build
from regard.records import PatchGrid

AT_ONCE = 1600
"""Patches that go through the encoder at once while others are left out, as in an audit."""

KIND = "describer"
"""What the architecture of such a network is called in a run."""


@dataclass(frozen=True)
class DecoderShape:
    """The sizes of a decoder; `positions` is the longest sequence, the start token among it."""

    vocabulary: int
    start: int
    stop: int
    width: int = 192
    heads: int = 6
    layers: int = 4
    positions: int = 64
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_sizes(self, ("dropout",))
        if self.width % self.heads or self.width % 4:
            raise UsageError(f"width {self.width} must be a multiple of 4 and of the number of heads, {self.heads}")


class TextDecoder(nn.Module):
    """All that is not the encoder: features (width `features`) into the decoder's width, the decoder, and its head."""

    def __init__(self, features: int, shape: DecoderShape) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, shape.width))
        self.embeddings = Embeddings(shape.vocabulary, shape.positions, shape.width, shape.dropout)
        self.decoder = Decoder(shape.layers, shape.width, shape.heads, 4 * shape.width, shape.dropout)
        self.head = nn.Linear(shape.width, shape.vocabulary)
        for table in (self.embeddings.word_embeddings, self.embeddings.position_embeddings):
            nn.init.normal_(table.weight, std=0.02)


class EncoderDecoder(CaptionModule):
    """Normalised pictures and tokens → logits. `encode` once, `decode` again and again; `forward` does both.

    What of the encoder lies behind its patches (a norm of their average, a pooling) is taken out of it, in place.
    Raises `NetworkError` for an encoder without a grid of patches.
    """

    def __init__(self, encoder: nn.Module, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.start = shape.start
        self.stop = shape.stop
        self.vocabulary = shape.vocabulary
        self.limit = shape.positions - 1
        anatomy = describe(encoder)
        if anatomy.patch is None or not hasattr(encoder, "forward_features"):
            raise NetworkError(
                f"{type(encoder).__name__} has no grid of patches that words could look at; give a ViT of timm, like "
                "vit_tiny_patch16_224"
            )
        self.anatomy = anatomy.inside("encoder")
        self.encoder: Any = _headless(encoder)
        self.speech = TextDecoder(int(getattr(encoder, "num_features", 0)), shape)

    def encode(self, pixels: Tensor, mask: Tensor | None = None, precision: str = "float32") -> Memory:
        """(pictures, 3, height, width) → what the decoder looks at; all of them are of one shape, so without a mask.

        The encoder alone computes in `precision`. What the decoder attends to is projected in float32: in bfloat16 it
        saved a fiftieth of the encoder's time, and four captions in 200 came out in other words instead of one.
        """
        if precision == "float32":  # or as the caller's autocast has it: trainings
            patches = self._patches(pixels)
        else:
            with computing(self.encoder, pixels.device, precision):
                patches = self._patches(pixels).to(pixels.dtype)
        count = len(pixels)
        rows, columns = self.anatomy.grid(*pixels.shape[2:])
        if patches.shape[1] != rows * columns:
            raise NetworkError(f"the encoder gave {patches.shape[1]} patches for a grid of {rows} × {columns}")
        x = self.speech.project(patches)  # (pictures, patches, the decoder's width)
        everywhere = torch.ones(count, rows, columns, dtype=torch.bool, device=x.device)
        positions = sine_positions(everywhere, self.shape.width).to(x.dtype)
        return self.speech.decoder.memory(x, positions, rows, columns, ((rows, columns),) * count, None)

    def encode_visible(self, pixels: Tensor, visible: Tensor) -> Memory:
        """One picture (1, 3, height, width) → what the decoder looks at where the others of its patches are no tokens:
        of each row of `visible` (n, count), which are indices of patches, every one in its place."""
        prefix = self.anatomy.prefix
        before = torch.arange(prefix, device=visible.device).expand(len(visible), -1)
        indices = torch.cat([before, prefix + visible], dim=1).to(pixels.device)  # (n, prefix + count)

        def select(block: nn.Module, inputs: Any) -> Any:
            return inputs[0][0, indices], *inputs[1:]

        hook = self.encoder.blocks[0].register_forward_pre_hook(select)
        try:
            x = self.speech.project(self._patches(pixels))  # (n, count, the decoder's width)
        finally:
            hook.remove()
        rows, columns = self.anatomy.grid(*pixels.shape[2:])
        whole = torch.ones(1, rows, columns, dtype=torch.bool, device=x.device)
        positions = sine_positions(whole, self.shape.width)[0, visible.to(x.device)].to(x.dtype)
        shape = 1, visible.shape[1]
        return self.speech.decoder.memory(x, positions, *shape, (shape,) * len(visible), None)

    def _patches(self, pixels: Tensor) -> Tensor:
        """(pictures, patches, width), row by row: tokens before the patches are left out."""
        features: Tensor = self.encoder.forward_features(pixels)
        if features.ndim == 4:  # Swin's kind has rows and columns, features last
            return features.flatten(1, 2)
        return features[:, self.anatomy.prefix :]

    def decode(self, tokens: Tensor, memory: Memory, cache: Cache | None = None) -> Tensor:
        """See `CaptionModule.decode`."""
        positions = self.speech.embeddings.positions(0 if cache is None else cache.length, tokens.shape[1])
        x = self.speech.embeddings(tokens, positions)  # (batch, tokens, width)
        return self.speech.head(self.speech.decoder(x, positions, memory, cache))

    def read_out(self, states: Tensor) -> Tensor:
        """See `CaptionModule.read_out`."""
        return self.speech.head(self.speech.decoder.norm(states))

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """Pictures (batch, 3, height, width) and their captions (batch, tokens) → (batch, tokens, vocabulary)."""
        return self.decode(tokens, self.encode(pixels))


def _headless(encoder: Any) -> Any:
    """The encoder without parts that only a head would use: they would never get a gradient."""
    if hasattr(encoder, "fc_norm"):
        encoder.fc_norm = nn.Identity()
    if getattr(encoder, "attn_pool", None) is not None:
        encoder.attn_pool = None
    return encoder


def architecture_of(encoder: Architecture, shape: DecoderShape) -> Architecture:
    """What a run holds of an encoder-decoder, from which `build_encoder_decoder` makes it again."""
    name = f"{encoder['name']} with {shape.layers} decoder layers"
    return {"kind": KIND, "name": name, "arguments": {"encoder": encoder, "decoder": asdict(shape)}}


def build_encoder_decoder(architecture: Mapping[str, Any], seed: int = 0) -> EncoderDecoder:
    """The network of an architecture, at random from `seed`. Raises `NetworkError` where it cannot be built."""
    try:
        encoder = dict(architecture["arguments"]["encoder"])
        shape = DecoderShape(**architecture["arguments"]["decoder"])
        kind = encoder["kind"]
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise NetworkError(
            f"no describer can be built of this architecture ({type(error).__name__}: {error}); "
            "restore its run or train again"
        ) from error
    if kind != "timm":
        raise NetworkError(
            f"the encoder of a captioner is a network of timm; came one of kind {kind!r}, which a newer regard may read"
        )
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return EncoderDecoder(build(encoder, seed), shape).eval()


def new_encoder_decoder(
    network: Network, shape: DecoderShape, layers: int | None = None, seed: int = 0
) -> tuple[EncoderDecoder, Architecture]:
    """An encoder-decoder whose encoder is a classifier without its head: its first `layers` blocks, or all.

    The decoder's values are drawn from `seed`. Raises `NetworkError` for a network that cannot be an encoder, and
    `UsageError` for more blocks than there are.
    """
    if network.edits:
        raise NetworkError(
            f"{network.name} carries edits (added registers), which the encoder of a captioner cannot; give the run "
            "that it was repaired from"
        )
    if network.architecture["kind"] != "timm":
        raise NetworkError(
            f"{network.name} is not of timm, and the encoder of a captioner must be; give a ViT by its timm name, or a "
            "run that began with one"
        )
    blocks = len(network.anatomy.blocks)
    if layers is not None and not 1 <= layers <= blocks:
        raise UsageError(f"--encoder-layers is {layers}, but {network.name} has {blocks} blocks; give at most {blocks}")
    arguments = {**network.architecture["arguments"], "num_classes": 0}
    if layers is not None:
        arguments["depth"] = layers
    encoder = {**network.architecture, "arguments": arguments}
    architecture = architecture_of(encoder, shape)
    module = build_encoder_decoder(architecture, seed)
    source = network.module.state_dict()
    target = module.encoder.state_dict()
    missing = [name for name in target if name not in source or source[name].shape != target[name].shape]
    if missing:
        raise NetworkError(
            f"{network.name} cannot be cut into an encoder: it lacks {missing[0]}; leave out --encoder-layers"
        )
    module.encoder.load_state_dict({name: source[name] for name in target})
    return module, architecture


class EncoderDecoderCaptioner(TrainableCaptioner):
    """The encoder of a network of timm and a small decoder. All pictures are brought to the encoder's size."""

    module: EncoderDecoder
    reducible = True

    def __init__(
        self,
        module: EncoderDecoder,
        vocabulary: WordPiece,
        preparation: Preparation,
        description: Architecture,
        *,
        name: str = "describer",
        messages: tuple[str, ...] = (),
    ) -> None:
        super().__init__(module, vocabulary, name, (module.shape.layers, module.shape.heads), messages)
        self.preparation: Preparation = preparation
        self.description = description
        self.architecture = str(description["name"])
        self._anatomy = module.anatomy

    @property
    def anatomy(self) -> Anatomy:
        return self._anatomy

    def encode(self, pixels: Tensor) -> Memory:
        return self.module.encode(pixels.to(self.device), precision=self.precision)

    @property
    def removes_tokens(self) -> bool:
        """A ViT whose patches know their places by what is added to them; one that turns them counts on all."""
        rotated = any(path.rpartition(".")[2] == "rope" for path, _ in self.module.encoder.named_modules())
        return self._anatomy.family == "timm vision_transformer" and not rotated

    def removed(
        self, picture: PreparedPicture, image: Image.Image, tokens: Sequence[int], visible: Tensor, prompt: str | None
    ) -> Tensor:
        if not self.removes_tokens:
            return super().removed(picture, image, tokens, visible, prompt)
        pixels = picture.inputs["pixels"][None].to(self.device)
        flat = visible.flatten(1)
        counts = flat.sum(1)
        logs = torch.empty(len(flat), len(tokens))
        for count in counts.unique().tolist():
            for rows in (counts == count).nonzero()[:, 0].split(max(1, AT_ONCE // count)):
                indices = flat[rows].nonzero()[:, 1].view(len(rows), count)
                with borrowed(self.module), torch.no_grad():
                    memory = self.module.encode_visible(pixels, indices)
                decodings = teacher_force(self.module, memory, [tokens] * len(rows))
                logs[rows] = torch.stack([each.log_probabilities for each in decodings])
        return logs

    def head_paths(self) -> tuple[str, ...]:
        return ("speech",)  # as the weights of runs name it

    def grid(self, size: tuple[int, int], pixels: Tensor) -> PatchGrid:
        rows, columns = self._anatomy.grid(*pixels.shape[1:])
        return self.preparation.grid(size, rows, columns, self._anatomy.prefix)


def build_captioner(
    architecture: Mapping[str, Any], preparation: Mapping[str, Any], vocabulary: WordPiece, name: str
) -> EncoderDecoderCaptioner:
    """The captioner that a run describes, its values still to be read."""
    module = build_encoder_decoder(architecture)
    return EncoderDecoderCaptioner(
        module, vocabulary, Preparation.from_json(preparation), dict(architecture), name=name
    )
