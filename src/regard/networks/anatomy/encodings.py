"""How a network tells its patches apart, read by running its own code: embeddings, rotations, or biases.

A reader takes the part of a network that has them, and (rows, columns) of patches; `encoding_families` is the table of
which family is read by which.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import resample_abs_pos_embed, resample_abs_pos_embed_nhwc
from torch import Tensor, nn

from regard.networks.anatomy.anatomy import Pair, pair

Array = NDArray[np.float64]

KINDS = ("embeddings", "rotary", "relative", "none")


@dataclass(frozen=True)
class Encoding:
    """One way in which a network tells its patches apart; `source` is the part of the network it was read from.

    `values` are, by `kind`: "embeddings" (rows, columns, width), added to the patches; "rotary" and "relative" a kernel
    (layers, heads, 2·rows - 1, 2·columns - 1) over offsets of the key from the query, whose middle is offset (0, 0):
    the mean over frequency bands of cos(ω · offset), and the bias of the attention logits; "none": nothing, (0,).
    Layers or heads that share a kernel have one entry; `layers` are the blocks that the entries stand for, () for all.
    """

    kind: str
    source: str
    rows: int
    columns: int
    values: Array
    layers: tuple[int, ...] = ()


Reader = Callable[[Any, Pair], Iterator[Encoding]]


def pairs(rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each offset a query and a key patch that far apart, each (2·rows - 1, 2·columns - 1) of patch indices."""
    down, across = np.meshgrid(np.arange(1 - rows, rows), np.arange(1 - columns, columns), indexing="ij")
    query = np.maximum(-down, 0) * columns + np.maximum(-across, 0)
    key = np.maximum(down, 0) * columns + np.maximum(across, 0)
    return query, key


def _numpy(x: Tensor) -> Array:
    return x.detach().double().cpu().numpy()


def _reach(part: Any, path: str) -> Any:
    """The attribute of a dotted name, or None where there is none."""
    for name in path.split("."):
        part = getattr(part, name, None)
    return part


# Each reader below takes Any: it reads attributes that only its own family has.


def _embeddings(source: str, table: Tensor, grid: Pair) -> Encoding:
    """From (tokens, width), of which the last rows × columns are the patches'."""
    rows, columns = grid
    return Encoding("embeddings", source, rows, columns, _numpy(table[-rows * columns :]).reshape(rows, columns, -1))


def timm_embeddings(part: Any, grid: Pair) -> Iterator[Encoding]:
    """`pos_embed`, with or without prefix tokens, interpolated as the network does to pictures of another size."""
    table = part.pos_embed
    if table is None:
        return
    if table.ndim == 4:
        yield _embeddings("pos_embed", resample_abs_pos_embed_nhwc(table, list(grid)).flatten(1, 2)[0], grid)
        return
    built = part.patch_embed.grid_size
    prefix = table.shape[1] - built[0] * built[1]
    resampled = resample_abs_pos_embed(table, list(grid), list(built), num_prefix_tokens=prefix)
    yield _embeddings("pos_embed", resampled[0], grid)


def naflex_embeddings(part: Any, grid: Pair) -> Iterator[Encoding]:
    """timm's NaFlexVit interpolates its table, or its tables of rows and columns, at every call."""
    embeds = part.embeds
    methods = {"learned": "_apply_learned_pos_embed", "factorized": "_apply_factorized_pos_embed"}
    if embeds.pos_embed_type in methods:
        x = next(part.parameters()).new_zeros(1, grid[0] * grid[1], part.embed_dim)
        getattr(embeds, methods[embeds.pos_embed_type])(x, grid_size=list(grid))  # adds them to x, in place
        yield _embeddings(f"embeds.pos_embed ({embeds.pos_embed_type})", x[0], grid)


def siglip2_embeddings(part: Any, grid: Pair) -> Iterator[Encoding]:
    """transformers' SigLIP 2 interpolates its square table to each picture."""
    side = part.embeddings.position_embedding_size
    table = part.embeddings.position_embedding.weight.reshape(side, side, -1)
    resized = part.embeddings.resize_positional_embeddings(table, torch.tensor([grid]), grid[0] * grid[1])
    yield _embeddings("embeddings.position_embedding", resized[0], grid)


def interpolated_embeddings(part: Any, grid: Pair) -> Iterator[Encoding]:
    """transformers' networks for pictures of any size, which bring their table to each picture by themselves."""
    table = part.embeddings.position_embeddings
    if table is not None:
        down, across = pair(part.config.patch_size)
        tokens = table.new_zeros(1, grid[0] * grid[1] + 1, table.shape[-1])
        resized = part.embeddings.interpolate_pos_encoding(tokens, grid[0] * down, grid[1] * across)
        yield _embeddings("embeddings.position_embeddings", resized[0], grid)


def attribute_embeddings(path: str) -> Reader:
    """A parameter (1, tokens, width) or (tokens, width), or an embedding layer, where it is not None."""

    def read(part: Any, grid: Pair) -> Iterator[Encoding]:
        table = _reach(part, path)
        if table is not None:
            weight = table.weight if isinstance(table, nn.Embedding) else table
            yield _embeddings(path, weight[0] if weight.ndim == 3 else weight, grid)

    return read


def rotary_kernel(sine_cosine: Tensor, grid: Pair) -> Array:
    """(..., patches, 2 · width) of sines, then cosines → (..., 2·rows - 1, 2·columns - 1), values in [-1, 1].

    The mean over frequency bands of cos(angle of key - angle of query): what is left of q·k when a query and a key of
    equal content are moved apart (Su et al. 2021, arXiv 2104.09864, eq. 16; for pictures Heo et al. 2024, 2403.13298).
    """
    if sine_cosine.ndim > 3:  # layer by layer, to save memory
        return np.stack([rotary_kernel(each, grid) for each in sine_cosine])
    sine, cosine = (_numpy(each) for each in sine_cosine.chunk(2, dim=-1))
    query, key = pairs(*grid)
    both = sine[..., query, :] * sine[..., key, :] + cosine[..., query, :] * cosine[..., key, :]
    return np.asarray(both.mean(axis=-1))


def _rotary(source: str, sine_cosine: Tensor, grid: Pair, layers: tuple[int, ...] = ()) -> Encoding:
    """From (patches, ...), shared by all, or (layers, heads, patches, ...)."""
    kernel = rotary_kernel(sine_cosine if sine_cosine.ndim == 4 else sine_cosine[None, None], grid)
    layers = tuple(range(len(kernel))) if sine_cosine.ndim == 4 else layers
    return Encoding("rotary", source, *grid, kernel, layers)


def eva_rotary(part: Any, grid: Pair) -> Iterator[Encoding]:
    """timm's Eva: axial ("cat"), DINOv3's, multimodal, or mixed: other frequencies in each layer and head."""
    if part.rope is not None:
        built_for_one = hasattr(part.rope, "feat_shape") and not part.dynamic_img_size
        yield _rotary("rope", part.rope.get_embed() if built_for_one else part.rope.get_embed(shape=list(grid)), grid)


def naflex_rotary(part: Any, grid: Pair) -> Iterator[Encoding]:
    if part.rope is not None:
        yield _rotary("rope", part.rope.get_embed(shape=list(grid)), grid)


def dinov3_rotary(part: Any, grid: Pair) -> Iterator[Encoding]:
    """transformers: cosine and sine for a picture of this many patches."""
    patch = pair(part.config.patch_size)
    picture = part.embeddings.cls_token.new_zeros(1, 3, grid[0] * patch[0], grid[1] * patch[1])
    cosine, sine = part.rope_embeddings(picture)
    yield _rotary("rope_embeddings", torch.cat([sine, cosine], dim=-1), grid)


def _relative(source: str, biases: list[Tensor], grid: Pair, shared: bool = False) -> Iterator[Encoding]:
    """From the biases (heads, tokens, tokens) of each layer; the last rows × columns tokens are the patches."""
    if not biases:
        return
    patches = grid[0] * grid[1]
    query, key = pairs(*grid)
    kernel = np.stack([_numpy(bias[:, -patches:, -patches:])[:, query, key] for bias in biases])
    yield Encoding("relative", source, *grid, kernel, () if shared else tuple(range(len(kernel))))


def beit_relative(part: Any, grid: Pair) -> Iterator[Encoding]:
    """timm's BEiT: a table of each layer, or one that all share, or both, which are then added."""
    attentions = [block.attn for block in part.blocks if block.attn.relative_position_bias_table is not None]
    shared = None if part.rel_pos_bias is None else part.rel_pos_bias()
    if attentions:
        biases = [attention._get_rel_pos_bias()[0] + (0 if shared is None else shared) for attention in attentions]
        yield from _relative("blocks.*.attn.relative_position_bias_table", biases, grid)
    elif shared is not None:
        yield from _relative("rel_pos_bias", [shared], grid, shared=True)


def relpos_relative(part: Any, grid: Pair) -> Iterator[Encoding]:
    """timm's VisionTransformerRelPos: tables (`RelPosBias`) or a small network of log-distances (`RelPosMlp`)."""
    if part.shared_rel_pos is not None:
        yield from _relative("shared_rel_pos", [part.shared_rel_pos.get_bias()[0]], grid, shared=True)
    biases = [block.attn.rel_pos.get_bias()[0] for block in part.blocks if block.attn.rel_pos is not None]
    yield from _relative("blocks.*.attn.rel_pos", biases, grid)


def huggingface_relative(shared: str, layers: str, bias: str) -> Reader:
    """transformers' BEiT and Data2Vec: modules that give the bias (1, heads, tokens, tokens) for a grid."""

    def read(part: Any, grid: Pair) -> Iterator[Encoding]:
        common = _reach(part, shared)
        common = None if common is None else common(grid)[0]
        parts = [_reach(layer, bias) for layer in part.get_submodule(layers)]
        biases = [each(grid)[0] + (0 if common is None else common) for each in parts if each is not None]
        if not biases and common is not None:
            yield from _relative(shared, [common], grid, shared=True)
        yield from _relative(f"{layers}.*.{bias}", biases, grid)

    return read


def _sam_windows(part: Any, grid: Pair) -> dict[Pair, list[int]]:
    """The layers of each size of window: those that attend to the whole picture have the grid itself."""
    windows: dict[Pair, list[int]] = {}
    for layer, block in enumerate(part.blocks):
        windows.setdefault((block.window_size,) * 2 if block.window_size else grid, []).append(layer)
    return windows


def sam_relative(part: Any, grid: Pair) -> Iterator[Encoding]:
    """timm's SAM: the bias is q · (h[rows apart] + w[columns apart]), so it is that of the mean query.

    A layer's norm gives tokens whose mean is its bias, wherever they point, so q is the projection of that bias (Li et
    al. 2022, arXiv 2112.01526, eq. 4, for the decomposition). One encoding for each size of window.
    """
    from timm.models.vision_transformer_sam import get_rel_pos

    for window, layers in _sam_windows(part, grid).items():
        kernels = []
        for block in (part.blocks[layer] for layer in layers if part.blocks[layer].attn.use_rel_pos):
            query = _mean_query(block)  # (heads, width)
            sides = zip(window, (block.attn.rel_pos_h, block.attn.rel_pos_w), strict=True)
            lines = []
            for side, table in sides:
                by_pair = get_rel_pos(side, side, table)  # (query place, key place, width)
                # by offset: key before the query, farthest first; then from it on
                line = torch.cat([by_pair[1:, 0].flip(0), by_pair[0]])  # (2 · side - 1, width)
                lines.append(_numpy(query @ line.T))
            down, across = lines  # each (heads, 2 · side - 1)
            kernels.append(down[:, :, None] + across[:, None, :])  # (heads, 2 · rows - 1, 2 · columns - 1)
        if kernels:
            yield Encoding("relative", "blocks.*.attn.rel_pos_*", *window, np.stack(kernels), tuple(layers))


def _mean_query(block: Any) -> Tensor:
    """(heads, width): the query of a token whose normalised values are the mean over all directions."""
    attention = block.attn
    mean = block.norm1.bias if block.norm1.bias is not None else torch.zeros_like(block.norm1.weight)
    query = attention.qkv(mean)[: attention.num_heads * attention.head_dim]
    return attention.q_norm(query.unflatten(0, (attention.num_heads, -1)))


def sam_rotary(part: Any, grid: Pair) -> Iterator[Encoding]:
    for window, layers in _sam_windows(part, grid).items():
        rope = part.blocks[layers[0]].attn.rope
        if rope is not None:
            yield _rotary("blocks.*.attn.rope", rope.get_embed(), window, tuple(layers))
