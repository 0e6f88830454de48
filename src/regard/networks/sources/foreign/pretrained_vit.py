"""Checkpoints of pytorch_pretrained_vit. Its keys become timm's; q, k and v are separate there and joined here."""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError
from regard.networks.sources.build import Architecture
from regard.networks.sources.checkpoint import Checkpoint
from regard.networks.sources.foreign.layout import Converted
from regard.networks.sources.preparations import HALF

IMAGENET_21K = 21843
"""The outputs of the ImageNet-21k head, which was trained on a representation layer."""
KEYS = frozenset(
    (
        *("class_token", "norm.weight", "patch_embedding.weight", "positional_embedding.pos_embedding"),
        *("transformer.blocks.0.attn.proj_q.weight", "transformer.blocks.0.pwff.fc1.weight"),
    )
)

_RENAMED = (
    (r"patch_embedding\.", "patch_embed.proj."),
    (r"class_token$", "cls_token"),
    (r"positional_embedding\.pos_embedding$", "pos_embed"),
    (r"transformer\.blocks\.(\d+)\.proj\.", r"blocks.\1.attn.proj."),
    (r"transformer\.blocks\.(\d+)\.pwff\.fc", r"blocks.\1.mlp.fc"),
    (r"transformer\.blocks\.(\d+)\.norm", r"blocks.\1.norm"),
    (r"fc\.", "head."),
)
_SEPARATE = re.compile(r"transformer\.blocks\.(\d+)\.attn\.proj_[qkv]\.(weight|bias)$")
_NAMES = {  # (wide, patch): the timm architecture; other depths and widths are arguments
    (False, 16): "vit_base_patch16_384",
    (False, 32): "vit_base_patch32_384",
    (True, 16): "vit_large_patch16_384",
    (True, 32): "vit_large_patch32_384",
}


def convert_pretrained_vit(checkpoint: Checkpoint, size: tuple[int, int] | None, outputs: int | None) -> Converted:
    """Any configuration of pytorch_pretrained_vit (B_16, L_32_imagenet1k, ...), any outputs, any size of picture."""
    tensors = dict(checkpoint.tensors)
    dropped = _drop_representation(tensors, checkpoint, outputs)
    architecture = _pretrained_vit_architecture(tensors, checkpoint, size)
    _join_qkv(tensors)
    height, width = architecture["arguments"]["img_size"]
    converted = {_rename(name): tensor for name, tensor in tensors.items()}
    preparation = Preparation(height, width, mode="squash", mean=HALF, std=HALF, interpolation="bilinear")
    message = f"{checkpoint.path} has the layout of pytorch_pretrained_vit; read as timm {architecture['name']}"
    return Converted(architecture, converted, preparation, (message, *dropped))


def _pretrained_vit_architecture(
    tensors: Mapping[str, Tensor], checkpoint: Checkpoint, size: tuple[int, int] | None
) -> Architecture:
    """What the shapes say. Heads have 64 values in every configuration of the package, which no shape tells."""
    width, _, height_px, width_px = tensors["patch_embedding.weight"].shape
    depth = len({match[1] for name in tensors if (match := re.match(r"transformer\.blocks\.(\d+)\.", name))})
    name = _NAMES.get((width >= 1024, height_px))
    if name is None or height_px != width_px or width % 64:
        raise NetworkError(
            f"{checkpoint.path} has the layout of pytorch_pretrained_vit, but patches of {height_px} × {width_px} "
            f"pixels and width {width}; regard reads patches of 16 or 32 and widths that are multiples of 64"
        )
    hidden = tensors["transformer.blocks.0.pwff.fc1.weight"].shape[0]
    side = math.isqrt(tensors["positional_embedding.pos_embedding"].shape[1] - 1)
    arguments = {
        "img_size": list(size or (side * height_px, side * width_px)),
        "embed_dim": width,
        "depth": depth,
        "num_heads": width // 64,
        "mlp_ratio": hidden / width,
    }
    return {"kind": "timm", "name": name, "arguments": arguments}


def _join_qkv(tensors: dict[str, Tensor]) -> None:
    """`proj_q`, `proj_k`, `proj_v` of each block → one `attn.qkv`, in that order; an incomplete set is left alone."""
    for name in [name for name in tensors if _SEPARATE.match(name)]:
        match = _SEPARATE.match(name)
        if match is None or name not in tensors:
            continue
        block, part = match.groups()
        parts = [f"transformer.blocks.{block}.attn.proj_{letter}.{part}" for letter in "qkv"]
        if all(part in tensors for part in parts):
            tensors[f"blocks.{block}.attn.qkv.{part}"] = torch.cat([tensors.pop(part) for part in parts])


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMED:
        renamed, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return renamed
    return name


def _drop_representation(tensors: dict[str, Tensor], checkpoint: Checkpoint, outputs: int | None) -> tuple[str, ...]:
    """Drop `pre_logits.*` where the head does not need it, refuse where it does or may.

    See docs/decisions/0004-representation-layer.md: the same keys stand in files of networks with and without it
    in use, and dropping the layer from under a head that was trained on it gives wrong answers without a sign.
    """
    names = [name for name in tensors if name.startswith("pre_logits.")]
    if not names:
        return ()
    width = len(tensors["class_token"][0, 0])
    head = tensors.get("fc.weight")
    if len(tensors["norm.weight"]) == width and not _needs_representation(head, checkpoint, outputs):
        for name in names:
            del tensors[name]
        return (f"dropped {' and '.join(names)}: the network has no representation layer",)
    raise NetworkError(
        f"{checkpoint.path} holds a representation layer (pre_logits.*) that its head was or may have been trained on, "
        "and regard has no such layer; train it (`regard train DATA --out RUN`) on other classes for a new head, or "
        "remove pre_logits.* from the file if its network did not use it"
    )


def _needs_representation(head: Tensor | None, checkpoint: Checkpoint, outputs: int | None) -> bool:
    """Whether the old head is kept and the file does not prove that its network had no representation layer."""
    if head is None or (outputs is not None and outputs != len(head)):
        return False
    unused = checkpoint.modules is not None and "pre_logits" not in checkpoint.modules
    return len(head) == IMAGENET_21K or not unused
