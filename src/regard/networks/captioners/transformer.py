"""An encoder-decoder transformer whose decoder remembers: pictures are encoded once, tokens decoded one by one.

Pre-norm, and positions are added again to the queries and keys of every layer (Carion et al. 2020, 2005.12872, fig.
10). Parameter names and shapes are those of torch's `nn.MultiheadAttention`, so that foreign weights load as they are;
queries, keys and values are projected apart, so that keys and values can be kept.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.errors import UsageError


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, 1706.03762, eq. 1), fused."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def queries(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) → (batch, heads, tokens, width / heads); so do `keys` and `values`."""
        return self._project(x, 0)

    def keys(self, x: Tensor) -> Tensor:
        return self._project(x, 1)

    def values(self, x: Tensor) -> Tensor:
        return self._project(x, 2)

    def _project(self, x: Tensor, part: int) -> Tensor:
        weight = self.in_proj_weight.chunk(3)[part]
        bias = self.in_proj_bias.chunk(3)[part]
        return F.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, heads, ..., width / heads) each → (batch, queries, width); `mask` is true where a key may be used."""
        rate = self.dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)  # (batch, heads, queries, d)
        return self.out_proj(x.transpose(1, 2).flatten(2))


@dataclass(frozen=True)
class Memory:
    """Encoded pictures, as every decoder layer attends to them.

    `keys` and `values` hold (pictures, heads, patches, width / heads) for each layer. The patches are `rows` ×
    `columns`, row by row; `shapes` are the (rows, columns) of each picture without its padding, which lies at the right
    and bottom, and `mask` (pictures, 1, 1, patches) is true there, or None where nothing is padded.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    rows: int
    columns: int
    shapes: tuple[tuple[int, int], ...]
    mask: Tensor | None = None

    @property
    def pictures(self) -> int:
        return len(self.shapes)

    @property
    def device(self) -> torch.device:
        return self.keys[0].device


@dataclass
class Cache:
    """The keys and values of the tokens so far, (batch, heads, tokens, width / heads) for each decoder layer."""

    layers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """How many tokens it holds."""
        return int(self.layers[0][0].shape[2]) if self.layers else 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens; gives all, the old ones first."""
        if layer in self.layers:
            old_keys, old_values = self.layers[layer]
            keys = torch.cat([old_keys, keys], dim=2)
            values = torch.cat([old_values, values], dim=2)
        self.layers[layer] = keys, values
        return keys, values

    def reorder(self, index: Tensor) -> None:
        """Go on with these rows of the batch: a beam takes over the tokens of its parent."""
        self.layers = {layer: (keys[index], values[index]) for layer, (keys, values) in self.layers.items()}


class Layer(nn.Module):
    """What encoder and decoder layers share: self-attention and the feed-forward part."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))


class EncoderLayer(Layer):
    """One layer over the patches."""

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """x and positions (batch, patches, width) → (batch, patches, width)."""
        y = self.norm1(x)
        placed = y + positions
        attention = self.self_attn
        x = x + self.dropout(attention(attention.queries(placed), attention.keys(placed), attention.values(y), mask))
        return x + self.feed_forward(self.norm2(x))


class DecoderLayer(Layer):
    """One layer over the tokens: each attends to those before it, then to the picture."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__(width, heads, feedforward, dropout)
        self.multihead_attn = Attention(width, heads, dropout)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, memory: Memory, layer: int, cache: Cache | None) -> Tensor:
        """x (batch, tokens, width) → the same."""
        x = x + self.dropout(self._attend_to_tokens(self.norm1(x), positions, layer, cache))
        x = x + self.dropout(self._attend_to_picture(self.norm2(x) + positions, memory, layer))
        return x + self.feed_forward(self.norm3(x))

    def _attend_to_tokens(self, y: Tensor, positions: Tensor, layer: int, cache: Cache | None) -> Tensor:
        """Self-attention of new tokens to all tokens so far."""
        attention = self.self_attn
        placed = y + positions
        keys = attention.keys(placed)
        values = attention.values(y)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        new = y.shape[1]
        tokens = keys.shape[2]
        # A single new token attends to all; of several, each to itself and those before it.
        mask = torch.ones(new, tokens, dtype=torch.bool, device=y.device).tril(tokens - new) if new > 1 else None
        return attention(attention.queries(placed), keys, values, mask)

    def _attend_to_picture(self, y: Tensor, memory: Memory, layer: int) -> Tensor:
        """The beams of one picture are more queries to the same memory, not more memories."""
        attention = self.multihead_attn
        queries = attention.queries(y.reshape(memory.pictures, -1, y.shape[-1]))  # (pictures, heads, beams · tokens, d)
        return attention(queries, memory.keys[layer], memory.values[layer], memory.mask).reshape(y.shape)


class Encoder(nn.Module):
    """All layers over the patches, then a norm."""

    def __init__(self, layers: int, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """x and positions (batch, patches, width) → (batch, patches, width)."""
        for layer in self.layers:
            x = layer(x, positions, mask)
        return self.norm(x)


class Decoder(nn.Module):
    """All layers over the tokens, then a norm."""

    def __init__(self, layers: int, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def memory(
        self,
        x: Tensor,
        positions: Tensor,
        rows: int,
        columns: int,
        shapes: tuple[tuple[int, int], ...],
        mask: Tensor | None,
    ) -> Memory:
        """Encoded patches x (pictures, patches, width) → what the layers attend to; positions go to the keys alone."""
        attentions: list[Any] = [layer.multihead_attn for layer in self.layers]
        keys = tuple(attention.keys(x + positions) for attention in attentions)
        values = tuple(attention.values(x) for attention in attentions)
        return Memory(keys, values, rows, columns, shapes, mask)

    def forward(self, x: Tensor, positions: Tensor, memory: Memory, cache: Cache | None = None) -> Tensor:
        """x (batch, tokens, width) → the same."""
        for index, layer in enumerate(self.layers):
            x = layer(x, positions, memory, index, cache)
        return self.norm(x)


class Embeddings(nn.Module):
    """Tokens → vectors: the word's plus the position's, normalised."""

    def __init__(self, vocabulary: int, positions: int, width: int, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(positions, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def positions(self, start: int, count: int) -> Tensor:
        """(count, width): the positions of `count` tokens after the first `start`."""
        most = self.position_embeddings.num_embeddings
        if start + count > most:
            raise UsageError(
                f"a caption of {start + count} tokens, the start among them, is too long: there are {most} "
                "positions; shorten it"
            )
        return self.position_embeddings.weight[start : start + count]

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """(batch, tokens) → (batch, tokens, width)."""
        return self.dropout(self.LayerNorm(self.word_embeddings(tokens) + positions))


def sine_positions(mask: Tensor, width: int) -> Tensor:
    """(pictures, rows, columns) bool, true on the picture → (pictures, rows × columns, width): DETR's sine encoding.

    The first half of the features tells the row, the second the column, each as a fraction of the picture's part,
    from just above 0 to 2π (Carion et al. 2020, 2005.12872, appendix A.4).
    """
    axes = []
    for axis in (1, 2):
        count = mask.cumsum(axis, dtype=torch.float32)
        last = count.narrow(axis, count.shape[axis] - 1, 1)
        angle = count / (last + 1e-6) * 2 * math.pi  # (pictures, rows, columns)
        # Sine and cosine in turn, of ever slower waves.
        features = width // 2
        index = torch.arange(features // 2, dtype=torch.float32, device=mask.device)
        waves = angle[..., None] / 10000 ** (2 * index / features)
        axes.append(torch.stack([waves.sin(), waves.cos()], dim=-1).flatten(-2))  # (pictures, rows, columns, features)
    return torch.cat(axes, dim=-1).flatten(1, 2)
