"""Where a network keeps its attention, its patches, its positions and its head: one declared table.

A row of `FAMILIES` says how a family of networks is recognised and where its parts lie; a row of `PROJECTIONS` says,
for one class of attention module, how queries and keys come out of it. A class that is in no row is never guessed
at: a wrong map is worse than none. To support a family, add a row to each table and a case to the tests.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]


@dataclass(frozen=True)
class Anatomy:
    """Where the parts of one network are; paths are as in `module.get_submodule`.

    `attentions` has one path per layer, `prefix` counts the tokens before the patches, `cls` says whether the first
    of them is a class token. `patch` is (height, width) in pixels and `size` the (height, width) the network was
    built for; `positions` names the parameter of positional embeddings, of which `positions_prefix` are not patches.
    `family` is None, and nothing else is known, where no row recognises the network.
    """

    family: str | None = None
    attentions: tuple[str, ...] = ()
    prefix: int = 0
    cls: bool = False
    patch: Pair | None = None
    size: Pair | None = None
    positions: str | None = None
    positions_prefix: int = 0
    head: str | None = None

    def grid(self, height: int, width: int) -> Pair:
        """(rows, columns) of patches in an input of this size. Only for networks with patches."""
        down, across = self.patch or (height, width)
        return height // down, width // across


@dataclass(frozen=True)
class Family:
    """A row: networks whose class, or a parent of it, is `kind` ("module.Class").

    `attentions` is a pattern of paths in which `*` is a number; `patch`, `size` and `prefix` read the network.
    """

    name: str
    kind: str
    attentions: tuple[str, ...]
    positions: str | None
    head: Callable[[nn.Module], str | None]
    patch: Callable[[nn.Module], Pair | None]
    size: Callable[[nn.Module], Pair | None]
    prefix: Callable[[nn.Module], int]
    cls: Callable[[nn.Module], bool]
    positions_prefix: Callable[[nn.Module], int]


def describe(module: nn.Module) -> Anatomy:
    """The anatomy of a network; that of an unknown one is empty, apart from a head that timm declares."""
    family = next((row for row in FAMILIES if row.kind in _kinds(module)), None)
    if family is None:
        return Anatomy(head=_timm_head(module) if hasattr(module, "pretrained_cfg") else None)
    return Anatomy(
        family=family.name,
        attentions=_attentions(module, family.attentions),
        prefix=family.prefix(module),
        cls=family.cls(module),
        patch=family.patch(module),
        size=family.size(module),
        positions=_present(module, family.positions),
        positions_prefix=family.positions_prefix(module),
        head=family.head(module),
    )


def _kinds(module: nn.Module) -> set[str]:
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__}


def kind_of(module: nn.Module) -> str:
    """The full name of a module's class, as in `PROJECTIONS`."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _attentions(module: nn.Module, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The paths that match a pattern, in the order of the network, which is that of its layers."""
    paths = [path for path, _ in module.named_modules()]
    return tuple(path for path in paths if any(_matches(path, pattern) for pattern in patterns))


def _matches(path: str, pattern: str) -> bool:
    return path.count(".") == pattern.count(".") and fnmatchcase(path, pattern)


def _present(module: nn.Module, path: str | None) -> str | None:
    """`path` where the network has such a parameter with a value."""
    parameters = dict(module.named_parameters())
    return path if path in parameters else None


def _pair(size: Any) -> Pair:
    """A size given as one number or two, as a pair."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)


# Each reader below takes Any: it reads attributes that only its own family has.


def _timm_head(module: Any) -> str | None:
    """timm declares its classifier's path; None where it has two (a distilled network) or none that is linear."""
    path = (module.pretrained_cfg or {}).get("classifier")
    if not isinstance(path, str):
        return None
    part = dict(module.named_modules()).get(path)
    return path if isinstance(part, nn.Linear | nn.Identity) else None


def _timm_size(module: Any) -> Pair | None:
    size = getattr(module.patch_embed, "img_size", None)
    return None if size is None else _pair(size)


def _timm_patch(module: Any) -> Pair | None:
    """Of the input: a hybrid's patches are larger than those of the feature map it cuts."""
    size, grid = _timm_size(module), getattr(module.patch_embed, "grid_size", None)
    if size is None or grid is None:
        return _pair(module.patch_embed.patch_size)
    return size[0] // grid[0], size[1] // grid[1]


def _timm_positions_prefix(module: Any) -> int:
    return 0 if module.no_embed_class else int(module.num_prefix_tokens)


def _huggingface_size(module: Any) -> Pair:
    return _pair(module.config.image_size)


def _huggingface_patch(module: Any) -> Pair:
    return _pair(module.config.patch_size)


def _fixed(value: Any) -> Callable[[nn.Module], Any]:
    return lambda module: value


def _huggingface(name: str, model: str, base: str, attentions: str, prefix: int = 1) -> Family:
    """A row for one of transformers' image classifiers, which differ in names only."""
    return Family(
        name=f"huggingface {name}",
        kind=f"transformers.models.{base}.modeling_{base}.{model}",
        attentions=(f"{base}.{attentions}",),
        positions=f"{base}.embeddings.position_embeddings",
        head=_fixed("classifier"),
        patch=_huggingface_patch,
        size=_huggingface_size,
        prefix=_fixed(prefix),
        cls=_fixed(True),
        positions_prefix=_fixed(prefix),
    )


FAMILIES: tuple[Family, ...] = (
    Family(
        name="timm vision_transformer",
        kind="timm.models.vision_transformer.VisionTransformer",
        attentions=("blocks.*.attn",),
        positions="pos_embed",
        head=_timm_head,
        patch=_timm_patch,
        size=_timm_size,
        prefix=lambda module: int(getattr(module, "num_prefix_tokens", 0)),
        cls=lambda module: bool(getattr(module, "has_class_token", False)),
        positions_prefix=_timm_positions_prefix,
    ),
    Family(
        name="torchvision vit",
        kind="torchvision.models.vision_transformer.VisionTransformer",
        attentions=("encoder.layers.*.self_attention",),
        positions="encoder.pos_embedding",
        head=_fixed("heads.head"),
        patch=lambda module: _pair(module.patch_size),
        size=lambda module: _pair(module.image_size),
        prefix=_fixed(1),
        cls=_fixed(True),
        positions_prefix=_fixed(1),
    ),
    _huggingface("ViT", "ViTForImageClassification", "vit", "layers.*.attention"),
    _huggingface("DeiT", "DeiTForImageClassification", "deit", "layers.*.attention", prefix=2),
    _huggingface("DINOv2", "Dinov2ForImageClassification", "dinov2", "encoder.layer.*.attention"),
)


@dataclass(frozen=True)
class Projection:
    """A row: how queries and keys come out of one class of attention module.

    `taps` are the parts whose outputs are needed ("" is the module's own input). `read` makes of them the queries
    of the wanted tokens (batch, heads, queries, width), already scaled, and all keys (batch, heads, tokens, width).
    """

    taps: tuple[str, ...]
    read: Callable[[Any, Mapping[str, Tensor], Tensor], tuple[Tensor, Tensor]]


def _split(x: Tensor, heads: int) -> Tensor:
    """(batch, tokens, heads · width) → (batch, heads, tokens, width)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _read_fused(attention: Any, taps: Mapping[str, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """timm: one projection for q, k and v, then an optional norm of q and k."""
    q, k, _ = taps["qkv"].chunk(3, dim=-1)  # each (batch, tokens, heads · width)
    q = attention.q_norm(_split(q[:, rows], attention.num_heads))
    return q * attention.scale, attention.k_norm(_split(k, attention.num_heads))


def _read_torch(attention: Any, taps: Mapping[str, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """torch's own MultiheadAttention, which projects inside one fused call, so q and k are made again."""
    weight, bias, width = attention.in_proj_weight, attention.in_proj_bias, attention.embed_dim
    x = taps[""]
    q = F.linear(x[:, rows], weight[:width], None if bias is None else bias[:width])
    k = F.linear(x, weight[width : 2 * width], None if bias is None else bias[width : 2 * width])
    q, k = _split(q, attention.num_heads), _split(k, attention.num_heads)
    return q / math.sqrt(attention.head_dim), k


def _read_separate(attention: Any, taps: Mapping[str, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """transformers: a projection each for q and k."""
    heads = attention.num_attention_heads
    return _split(taps["q_proj"][:, rows], heads) * attention.scaling, _split(taps["k_proj"], heads)


_SEPARATE = Projection(("q_proj", "k_proj"), _read_separate)

PROJECTIONS: dict[str, Projection] = {
    "timm.layers.attention.Attention": Projection(("qkv",), _read_fused),
    "torch.nn.modules.activation.MultiheadAttention": Projection(("",), _read_torch),
    "transformers.models.vit.modeling_vit.ViTAttention": _SEPARATE,
    "transformers.models.deit.modeling_deit.DeiTAttention": _SEPARATE,
    "transformers.models.dinov2.modeling_dinov2.Dinov2Attention": _SEPARATE,
}


def positions_of(module: nn.Module, anatomy: Anatomy) -> Tensor | None:
    """(rows, columns, d): the positional embeddings of the patches, CLS and other prefix tokens left out."""
    if anatomy.positions is None or anatomy.size is None:
        return None
    embedding = module.get_parameter(anatomy.positions).detach()[0, anatomy.positions_prefix :]
    rows, columns = anatomy.grid(*anatomy.size)
    if rows * columns != len(embedding):
        return None
    return torch.unflatten(embedding, 0, (rows, columns))
