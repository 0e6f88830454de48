"""Google's own ViT files: NumPy archives of Flax parameters, by JAX's names, turned into timm's layout."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError
from regard.networks.sources.build import Architecture
from regard.networks.sources.checkpoint import Checkpoint
from regard.networks.sources.foreign.layout import Converted
from regard.networks.sources.preparations import HALF

EMBEDDING = "embedding/kernel"
_BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/(.*)$")
_NAMES = {768: "vit_base_patch16_224", 1024: "vit_large_patch16_224", 192: "vit_tiny_patch16_224"}
"""The timm architecture of a width; all its sizes are arguments."""


def convert_flax(checkpoint: Checkpoint, size: tuple[int, int] | None, outputs: int | None) -> Converted:
    """Any width, depth, patch and number of outputs of Google's `ViT-*.npz`."""
    tensors = dict(checkpoint.tensors)
    layer = [name for name in tensors if name.startswith("pre_logits/")]
    if layer and "head/kernel" in tensors and outputs in (None, tensors["head/kernel"].shape[1]):
        raise NetworkError(
            f"{checkpoint.path} holds a representation layer (pre_logits) that its head was trained on, and regard has "
            "no such layer; train it (`regard train DATA --out RUN`) on other classes for a new head, or take "
            "the fine-tuned file"
        )
    try:
        architecture = _architecture(checkpoint, size)
        converted = _tensors(tensors)
    except (KeyError, StopIteration, ValueError, IndexError) as error:
        raise NetworkError(
            f"{checkpoint.path} has names of Google's ViT ({EMBEDDING}), but is not whole ({error}); fetch it again"
        ) from error
    message = f"{checkpoint.path} has the layout of Google's ViT; read as timm {architecture['name']}"
    height, width = architecture["arguments"]["img_size"]
    # as Google's programs do it: the whole picture, squeezed to the square, in -1 to 1
    preparation = Preparation(height, width, mode="squash", mean=HALF, std=HALF, interpolation="bilinear")
    return Converted(architecture, converted, preparation, (message,))


def _architecture(checkpoint: Checkpoint, size: tuple[int, int] | None) -> Architecture:
    """What the shapes say: a kernel of attention is (width, heads, values of a head)."""
    tensors = checkpoint.tensors
    if "conv_root/kernel" in tensors or ("cls" not in tensors and len(tensors) > 1):
        raise NetworkError(
            f"{checkpoint.path} is a hybrid or a network without CLS, which regard does not read from Google's files; "
            "take timm's, `regard models hybrid` or `regard models gap` lists them"
        )
    rows, columns, _, width = tensors[EMBEDDING].shape
    positions = tensors["Transformer/posembed_input/pos_embedding"]
    side = round((positions.shape[1] - 1) ** 0.5)
    blocks = {match[1] for name in tensors if (match := _BLOCK.match(name))}
    query = next(value for name, value in tensors.items() if name.endswith("query/kernel"))
    hidden = next(value for name, value in tensors.items() if name.endswith("Dense_0/kernel"))
    arguments: dict[str, Any] = {
        "img_size": list(size or (side * rows, side * columns)),
        "patch_size": rows if rows == columns else [rows, columns],
        "embed_dim": width,
        "depth": len(blocks),
        "num_heads": query.shape[1],
        "mlp_ratio": hidden.shape[1] / width,
    }
    return {"kind": "timm", "name": _NAMES.get(width, "vit_base_patch16_224"), "arguments": arguments}


def _tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Flax's parameters by timm's names: its kernels are (inputs, outputs), with the heads apart."""
    converted = {
        "cls_token": tensors["cls"],
        "pos_embed": tensors["Transformer/posembed_input/pos_embedding"],
        "patch_embed.proj.weight": tensors[EMBEDDING].permute(
            3, 2, 0, 1
        ),  # (rows, columns, 3, d) → (d, 3, rows, columns)
        "patch_embed.proj.bias": tensors["embedding/bias"],
        "norm.weight": tensors["Transformer/encoder_norm/scale"],
        "norm.bias": tensors["Transformer/encoder_norm/bias"],
    }
    for name, kernel in tensors.items():
        if match := _BLOCK.match(name):
            converted |= _of_block(f"blocks.{match[1]}", match[2], kernel, tensors, name)
    if "head/kernel" in tensors:
        converted |= {"head.weight": tensors["head/kernel"].T, "head.bias": tensors["head/bias"]}
    return {name: value.contiguous() for name, value in converted.items()}


def _of_block(block: str, part: str, value: Tensor, tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """A parameter of a block. The numbers in its names differ between the two programs that wrote such files."""
    module, _, rest = part.partition("/")
    if module.startswith("LayerNorm"):
        return {f"{block}.norm{1 if module.endswith('_0') else 2}.{rest.replace('scale', 'weight')}": value}
    if module.startswith("MlpBlock"):
        layer, _, kind = rest.partition("/")
        return {f"{block}.mlp.fc{int(layer[-1]) + 1}.{_kind(kind)}": value.T if kind == "kernel" else value}
    layer, _, kind = rest.partition("/")
    if layer == "out":
        return {f"{block}.attn.proj.{_kind(kind)}": value.flatten(0, 1).T if kind == "kernel" else value}
    if layer != "query":  # joined with it
        return {}
    parts = [tensors[name.replace("/query/", f"/{each}/")] for each in ("query", "key", "value")]
    joined = [
        each.flatten(1).T if kind == "kernel" else each.flatten() for each in parts
    ]  # (d, heads, values) → (d, d)
    return {f"{block}.attn.qkv.{_kind(kind)}": torch.cat(joined)}


def _kind(name: str) -> str:
    return "weight" if name == "kernel" else name
