"""The table of encodings: which families regard knows the positions of, how many patches they have, and their readers.

To support a family, add a row and a case to tests/networks/test_position_families.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from regard.errors import NetworkError
from regard.networks.anatomy.anatomy import Pair, kinds_of, pair
from regard.networks.anatomy.encodings import (
    Encoding,
    Reader,
    attribute_embeddings,
    beit_relative,
    dinov3_rotary,
    eva_rotary,
    huggingface_relative,
    interpolated_embeddings,
    naflex_embeddings,
    naflex_rotary,
    relpos_relative,
    sam_relative,
    sam_rotary,
    siglip2_embeddings,
    timm_embeddings,
)
from regard.networks.guard import borrowed


@dataclass(frozen=True)
class Row:
    """A family: the classes ("module.Class") that its networks, or a part of them, are of, and how they are read.

    `grid` gives (rows, columns) of patches for pictures of a (height, width), or of the size the network was built
    for; each of `readers` yields what it finds, if anything.
    """

    family: str
    classes: tuple[str, ...]
    grid: Callable[[Any, Pair | None], Pair]
    readers: tuple[Reader, ...]


def _timm_grid(part: Any, size: Pair | None) -> Pair:
    """As built, or as the picture has it where the network takes any size."""
    embed = part.patch_embed
    return pair(embed.grid_size if size is None or embed.strict_img_size else embed.dynamic_feat_size(size))


def _naflex_grid(part: Any, size: Pair | None) -> Pair:
    if size is not None:
        return pair(part.embeds.dynamic_feat_size(size))
    if part.embeds.pos_embed_grid_size is None:
        raise NetworkError("this NaFlexVit takes pictures of any size and has no grid of its own; give their size")
    return pair(part.embeds.pos_embed_grid_size)


def _configured_grid(part: Any, size: Pair | None) -> Pair:
    """transformers: of the pictures that the configuration names."""
    return _any_size_grid(part, None)


def _any_size_grid(part: Any, size: Pair | None) -> Pair:
    height, width = size or pair(part.config.image_size)
    down, across = pair(part.config.patch_size)
    return height // down, width // across


def _siglip2_grid(part: Any, size: Pair | None) -> Pair:
    """transformers' SigLIP 2: that of the square table, without a picture's size."""
    patch = part.config.patch_size
    return (part.embeddings.position_embedding_size,) * 2 if size is None else (size[0] // patch, size[1] // patch)


def _timm(module: str, name: str, *readers: Reader) -> Row:
    return Row(f"timm {module}", (f"timm.models.{module}.{name}",), _timm_grid, readers)


def _huggingface(
    module: str, name: str, *readers: Reader, grid: Callable[[Any, Pair | None], Pair] = _configured_grid
) -> Row:
    kind = f"transformers.models.{module.removesuffix('_vision')}.modeling_{module}.{name}"
    return Row(f"Hugging Face {name.removesuffix('Model')}", (kind,), grid, readers)


_POSITIONS = attribute_embeddings("embeddings.position_embeddings")
_POSITION_LAYER = attribute_embeddings("embeddings.position_embedding")

TABLE: tuple[Row, ...] = (
    _timm("vision_transformer", "VisionTransformer", timm_embeddings),  # deit and hybrid too: its children
    _timm("eva", "Eva", timm_embeddings, eva_rotary),
    _timm("beit", "Beit", timm_embeddings, beit_relative),
    _timm("cait", "Cait", timm_embeddings),
    _timm("vision_transformer_relpos", "VisionTransformerRelPos", relpos_relative),
    _timm("vision_transformer_sam", "VisionTransformerSAM", timm_embeddings, sam_relative, sam_rotary),
    Row(
        "timm naflexvit",
        ("timm.models.naflexvit.NaFlexVit",),
        _naflex_grid,
        (naflex_embeddings, naflex_rotary),
    ),
    Row(
        "torchvision vit",
        ("torchvision.models.vision_transformer.VisionTransformer",),
        lambda part, size: (part.image_size // part.patch_size,) * 2,
        (attribute_embeddings("encoder.pos_embedding"),),
    ),
    Row(
        "open_clip ViT",
        ("open_clip.transformer.VisionTransformer",),
        lambda part, size: pair(part.grid_size),
        (attribute_embeddings("positional_embedding"),),
    ),
    _huggingface("vit", "ViTModel", _POSITIONS),
    _huggingface("deit", "DeiTModel", _POSITIONS),
    _huggingface("vit_mae", "ViTMAEModel", _POSITIONS),
    _huggingface("vit_msn", "ViTMSNModel", _POSITIONS),
    _huggingface("ijepa", "IJepaModel", _POSITIONS),
    _huggingface("dinov2", "Dinov2Model", interpolated_embeddings, grid=_any_size_grid),
    _huggingface("dinov2_with_registers", "Dinov2WithRegistersModel", interpolated_embeddings, grid=_any_size_grid),
    _huggingface("dinov3_vit", "DINOv3ViTModel", dinov3_rotary, grid=_any_size_grid),
    _huggingface("clip", "CLIPVisionModel", _POSITION_LAYER),
    _huggingface("siglip", "SiglipVisionModel", _POSITION_LAYER),
    _huggingface("siglip2", "Siglip2VisionModel", siglip2_embeddings, grid=_siglip2_grid),
    _huggingface(
        "beit",
        "BeitModel",
        interpolated_embeddings,
        huggingface_relative("shared_position_bias", "layers", "relative_position_bias"),
        grid=_any_size_grid,
    ),
    _huggingface(
        "data2vec_vision",
        "Data2VecVisionModel",
        interpolated_embeddings,
        huggingface_relative(
            "encoder.relative_position_bias", "encoder.layer", "attention.attention.relative_position_bias"
        ),
        grid=_any_size_grid,
    ),
)
"""The families; the first part of a network that is of a row's class decides."""


def encodings(module: nn.Module, size: Pair | None = None) -> tuple[Encoding, ...]:
    """All ways in which a network tells patches apart; one of kind "none" where it has none.

    `size` is the (height, width) of its pictures, for networks that take any. The network is left as it was found.
    Raises `NetworkError` for a network of no family in the table.
    """
    row, part = find(module)
    with borrowed(module), torch.no_grad():
        rows, columns = row.grid(part, size)
        read = tuple(encoding for reader in row.readers for encoding in reader(part, (rows, columns)))
    return read or (Encoding("none", row.family, rows, columns, np.zeros(0)),)


def find(module: nn.Module) -> tuple[Row, nn.Module]:
    """The row of a network, and the part of it (often the whole) that the row is about."""
    by_class = {name: row for row in TABLE for name in row.classes}
    for part in module.modules():
        for kind in kinds_of(part):
            if kind in by_class:
                return by_class[kind], part
    raise NetworkError(
        f"how {type(module).__name__} tells its patches apart is not known to regard; "
        f"it knows {', '.join(row.family for row in TABLE)}"
    )
