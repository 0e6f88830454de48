"""CATR, a ResNet-101 whose patches a transformer encodes and whose decoder writes a caption (saahiluppal/catr).

    pixels → backbone (stride 16) → 1 × 1 convolution → encoder → Memory      once for each picture
    tokens → embeddings → decoder (attends to Memory) → head → logits         once for each token, with a cache

Names and shapes of all tensors are the original's, so that its public checkpoints load as they are. Where a patch lies
in the picture: `grid_of`.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d

from regard.data.images.decode import Size
from regard.data.images.longest_side import LongestSide
from regard.errors import NetworkError, UsageError, unknown
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.captioners.decoding import CaptionModule, check_sizes
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.captioners.transformer import Cache, Decoder, Embeddings, Encoder, Memory, sine_positions
from regard.networks.captioners.wordpiece import WordPiece
from regard.networks.sources.checkpoint import listed, read_checkpoint
from regard.networks.sources.fit import fit
from regard.networks.sources.hub import require
from regard.records import PatchGrid

KIND = "catr"
"""What the architecture of such a network is called in a run."""

STRIDE = 16
"""Pixels of the input from the centre of one patch to the next."""

_RELEASES = "https://github.com/saahiluppal/catr/releases/download"

PUBLIC = {
    "catr-v1": f"{_RELEASES}/0.1/weights_9348032.pth",
    "catr-v2": f"{_RELEASES}/0.2/weight389123791.pth",
    "catr-v3": f"{_RELEASES}/0.2/weight493084032.pth",
}
"""The public checkpoints, all of one architecture, and where they are."""


@dataclass(frozen=True)
class CatrShape:
    """The sizes of a CATR network; the defaults are those of the public checkpoints.

    `blocks` are the ResNet's, `bottleneck` the width inside its first stage; `hidden` is the head's; `positions`
    is the longest sequence, the start token among it.
    """

    width: int = 256
    heads: int = 8
    feedforward: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    vocabulary: int = 30522
    positions: int = 128
    hidden: int = 512
    blocks: tuple[int, int, int, int] = (3, 4, 23, 3)
    bottleneck: int = 64
    dropout: float = 0.1
    start: int = 101
    stop: int = 102

    def __post_init__(self) -> None:
        check_sizes(self, ("dropout", "blocks"))
        if len(self.blocks) != 4 or not all(isinstance(each, int) and each > 0 for each in self.blocks):
            raise UsageError(f"a ResNet has four numbers of blocks, each at least 1; came {self.blocks}")
        if self.width % self.heads or self.width % 4:
            raise UsageError(f"width {self.width} must be a multiple of 4 and of the number of heads, {self.heads}")


class Transformer(nn.Module):
    """Encoder, embeddings and decoder under the names of the original."""

    def __init__(self, shape: CatrShape) -> None:
        super().__init__()
        sizes = shape.width, shape.heads, shape.feedforward, shape.dropout
        self.encoder = Encoder(shape.encoder_layers, *sizes)
        self.decoder = Decoder(shape.decoder_layers, *sizes)
        self.embeddings = Embeddings(shape.vocabulary, shape.positions, shape.width, shape.dropout)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)


class Head(nn.Module):
    """Three linear layers with ReLU between: (..., width) → (..., vocabulary)."""

    def __init__(self, width: int, hidden: int, vocabulary: int) -> None:
        super().__init__()
        sizes = (width, hidden, hidden, vocabulary)
        self.layers = nn.ModuleList(nn.Linear(sizes[index], sizes[index + 1]) for index in range(3))

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))


class Catr(CaptionModule):
    """Normalised pictures and tokens → logits. `encode` once, `decode` again and again; `forward` does both."""

    def __init__(self, shape: CatrShape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or CatrShape()
        self.start = shape.start
        self.stop = shape.stop
        self.vocabulary = shape.vocabulary
        self.limit = shape.positions - 1
        self.backbone = nn.Sequential(nn.Sequential(OrderedDict(body=_resnet(shape))))
        self.input_proj = nn.Conv2d(2048, shape.width, kernel_size=1)
        self.transformer = Transformer(shape)
        self.mlp = Head(shape.width, shape.hidden, shape.vocabulary)

    def encode(self, pixels: Tensor, mask: Tensor | None = None) -> Memory:
        """(pictures, 3, height, width) → what the decoder looks at.

        `mask` (pictures, height, width) bool is true on the padding at the right and bottom; see `stack`.
        """
        self._check(pixels, mask)
        features = self.input_proj(self.backbone(pixels))  # (pictures, width, rows, columns)
        rows, columns = features.shape[-2:]
        inside = _unpadded(features, mask)  # (pictures, rows, columns)
        positions = sine_positions(inside, self.shape.width).to(features.dtype)  # (pictures, patches, width)
        keys = None if mask is None else inside.flatten(1)[:, None, None]  # (pictures, 1, 1, patches)
        x = self.transformer.encoder(features.flatten(2).transpose(1, 2), positions, keys)
        shapes = zip(inside[:, :, 0].sum(1).tolist(), inside[:, 0].sum(1).tolist(), strict=True)
        return self.transformer.decoder.memory(x, positions, rows, columns, tuple(shapes), keys)

    def decode(self, tokens: Tensor, memory: Memory, cache: Cache | None = None) -> Tensor:
        """See `CaptionModule.decode`."""
        positions = self.transformer.embeddings.positions(0 if cache is None else cache.length, tokens.shape[1])
        x = self.transformer.embeddings(tokens, positions)  # (batch, tokens, width)
        return self.mlp(self.transformer.decoder(x, positions, memory, cache))

    def read_out(self, states: Tensor) -> Tensor:
        """See `CaptionModule.read_out`."""
        return self.mlp(self.transformer.decoder.norm(states))

    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pictures (batch, 3, height, width) and their captions (batch, tokens) → (batch, tokens, vocabulary)."""
        return self.decode(tokens, self.encode(pixels, mask))

    def _check(self, pixels: Tensor, mask: Tensor | None) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise UsageError(f"CATR takes pictures (batch, 3, height, width); came {tuple(pixels.shape)}")
        if mask is not None and mask.shape != (len(pixels), *pixels.shape[2:]):
            raise UsageError(f"the mask of {tuple(pixels.shape)} must be without the 3; came {tuple(mask.shape)}")


def _resnet(shape: CatrShape) -> nn.Module:
    """torchvision's ResNet without pooling and classes, its last stage dilated instead of strided."""
    dilated = [False, False, True]
    whole = ResNet(
        Bottleneck,
        list(shape.blocks),
        num_classes=1,
        width_per_group=shape.bottleneck,
        replace_stride_with_dilation=dilated,
        norm_layer=FrozenBatchNorm2d,
    )
    return nn.Sequential(OrderedDict(part for part in whole.named_children() if part[0] not in ("avgpool", "fc")))


def _unpadded(features: Tensor, mask: Tensor | None) -> Tensor:
    """(pictures, rows, columns) bool: the patches that are not padding, by the mask's nearest pixel."""
    size = features.shape[-2:]
    if mask is None:
        return torch.ones(len(features), *size, dtype=torch.bool, device=features.device)
    return F.interpolate(mask[:, None].float(), size=size)[:, 0] == 0


def grid_of(preparation: LongestSide, size: Size, rows: int, columns: int) -> PatchGrid:
    """Where the rows × columns patches lie in a user's picture of this (height, width).

    Each strided layer of the backbone (a 7 × 7 with padding 3, three times a 3 × 3 with padding 1) is centred on
    every second pixel, beginning with the very first one: patch i is centred on pixel 16 i of the input, not on the
    middle of pixels 16 i to 16 i + 15. So the first patch reaches half a patch beyond the left and upper edge, n
    pixels give ceil(n / 16) patches, and the last one is centred less than 16 pixels before the other edge, which its
    cell may pass (n = 198: by 2.5 pixels) or not reach (n = 299: by 2.5). Where it does not, all cells are stretched
    to reach it, so that a map covers the whole picture: that moves centres by less than half a patch, the last one
    most (n = 299: by 2.4 pixels).
    """
    tall, wide = preparation.size(size)
    left, right = _reach(columns, wide)
    top, bottom = _reach(rows, tall)
    across = size[1] / wide
    down = size[0] / tall
    box = left * across, top * down, right * across, bottom * down
    return PatchGrid(rows, columns, 0, (int(size[0]), int(size[1])), box)


def _reach(patches: int, pixels: int) -> tuple[float, float]:
    """Where, in pixels of the input, the first patch begins and the last one ends."""
    first = 0.5 - STRIDE / 2  # the first pixel's own centre lies at 0.5
    return first, max(first + patches * STRIDE, float(pixels))


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


def build_captioner(
    architecture: Mapping[str, Any], preparation: Mapping[str, Any], vocabulary: WordPiece, name: str
) -> CatrCaptioner:
    """The captioner that a run describes, its values still to be read."""
    sizes = architecture["arguments"]
    shape = CatrShape(**{**sizes, "blocks": tuple(sizes["blocks"])})
    return CatrCaptioner(Catr(shape).eval(), name=name, vocabulary=vocabulary, preparation=LongestSide(**preparation))


def is_catr(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of a CATR network, of whatever size and however complete."""
    return any(name.startswith("transformer.decoder.layers.") for name in tensors) and "input_proj.weight" in tensors


def is_catr_file(model: str | Path) -> bool:
    """Whether a path is that of a checkpoint of CATR."""
    return Path(model).is_file() and is_catr(read_checkpoint(Path(model)).tensors)


def load_catr(model: str | Path) -> tuple[Catr, tuple[str, ...]]:
    """A checkpoint file, or the name of a public one → the network in evaluation mode, and what there is to say.

    A public one is fetched once and kept where torch keeps its own. Raises `UsageError` for an unknown name and
    `NetworkError` for a file that is missing, unsafe, damaged, of something else, or of another size (it lists the
    keys), and where there is no network.
    """
    path = _file_of(model)
    checkpoint = read_checkpoint(path)
    _check_layout(checkpoint.tensors, path)
    with torch.device("meta"):  # every value is about to be replaced: none is drawn
        module = Catr()
    module = module.to_empty(device="cpu").eval()
    messages = fit(module, checkpoint.tensors, path)
    _check_finite(module, path)
    return module, (*checkpoint.messages, *messages)


def new_catr(shape: CatrShape, seed: int = 0, backbone: Path | str | None = None) -> tuple[Catr, tuple[str, ...]]:
    """A CATR of this shape, its values drawn from `seed`, and what there is to say; `backbone` is a checkpoint of
    torchvision's ResNet of the same size, whose classes are left out. Raises `NetworkError` where it does not fit."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        module = Catr(shape).eval()
    if backbone is None:
        layers = 3 * sum(shape.blocks) + 2
        return module, (f"all weights are random, the backbone's too; --weights takes a ResNet-{layers}'s",)
    checkpoint = read_checkpoint(Path(backbone))
    body = module.backbone.get_submodule("0.body")
    tensors = {
        name: value
        for name, value in checkpoint.tensors.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    return module, (*checkpoint.messages, *fit(body, tensors, backbone))


def _check_layout(tensors: Mapping[str, Tensor], path: Path) -> None:
    if not is_catr(tensors):
        raise NetworkError(
            f"{path} is no checkpoint of CATR (its keys: {listed(tensors, 4)}); give one of saahiluppal/catr's files "
            f"or a name: {', '.join(PUBLIC)}"
        )
    odd = [name for name, tensor in tensors.items() if not tensor.is_floating_point() or tensor.layout != torch.strided]
    if odd:
        raise NetworkError(
            f"the weights of {path} do not fit: {len(odd)} are not plain floating-point numbers: {listed(odd)}; "
            "save model.state_dict() as it is and give that file"
        )


def _check_finite(module: nn.Module, path: Path) -> None:
    """Of the module rather than of the file, whose shapes could be anything before `fit` has looked at them."""
    odd = [name for name, tensor in module.state_dict().items() if not tensor.isfinite().all()]
    if odd:
        raise NetworkError(
            f"the weights of {path} are damaged: {len(odd)} hold values that are not finite: {listed(odd)}; "
            "fetch it again, or give an earlier one"
        )


def _file_of(model: str | Path) -> Path:
    """An existing file, or the public one of that name."""
    path = Path(model)
    name = str(model)
    if name in PUBLIC and not path.is_file():
        return _fetch(name)
    if not path.suffix and not path.exists():
        raise unknown("CATR network", name, PUBLIC, "It may also be a checkpoint file.")
    return path


def _fetch(name: str) -> Path:
    address = PUBLIC[name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(address).name
    if path.is_file():
        return path
    require(address, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(path))
    except OSError as error:  # URLError is one
        raise NetworkError(
            f"cannot fetch {name} from {address} ({error}); fetch it yourself and give the file"
        ) from error
    return path
