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
    """Multi-head attention (Vaswani et al. 2017, 1706.03762, eq. 1), fused or written out: `forward` and `look`."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
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
        weight, bias = self.in_proj_weight.chunk(3)[part], self.in_proj_bias.chunk(3)[part]
        return F.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        """(batch, heads, ..., width / heads) each → (batch, queries, width); `seen` is true where a key may be used."""
        rate = self.dropout if self.training else 0.0
        return self._join(F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=rate))

    def look(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `forward`, and with it the attention (batch, heads, queries, keys), whose rows sum to one."""
        scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
        if seen is not None:
            scores = scores.masked_fill(~seen, -math.inf)
        weights = scores.softmax(dim=-1)  # (batch, heads, queries, keys)
        return self._join(F.dropout(weights, self.dropout, self.training) @ v), weights

    def _join(self, x: Tensor) -> Tensor:
        return self.out_proj(x.transpose(1, 2).flatten(2))


@dataclass(frozen=True)
class Memory:
    """Encoded pictures, as every decoder layer looks at them.

    `keys` and `values` hold (pictures, heads, patches, width / heads) for each layer. The patches are `rows` ×
    `columns`, row by row; `own` is the (rows, columns) of each picture's own part, at the top left, where pictures of
    several shapes were padded, and `seen` (pictures, 1, 1, patches) is true there, or None where all are seen.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    rows: int
    columns: int
    own: tuple[tuple[int, int], ...]
    seen: Tensor | None = None

    @property
    def pictures(self) -> int:
        return len(self.own)

    @property
    def device(self) -> torch.device:
        return self.keys[0].device


@dataclass
class Cache:
    """The keys and values of the tokens so far, (batch, heads, tokens, width / heads) for each decoder layer."""

    layers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """How many tokens are remembered."""
        return int(self.layers[0][0].shape[2]) if self.layers else 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Remember the keys and values of new tokens; all of them come back, the old ones first."""
        if layer in self.layers:
            old_keys, old_values = self.layers[layer]
            keys, values = torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2)
        self.layers[layer] = keys, values
        return keys, values

    def reorder(self, index: Tensor) -> None:
        """Go on with these rows of the batch: a beam takes over what its parent remembered."""
        self.layers = {layer: (keys[index], values[index]) for layer, (keys, values) in self.layers.items()}


class Layer(nn.Module):
    """What encoder and decoder layers share: self-attention and the feed-forward part."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(width, feedforward), nn.Linear(feedforward, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))


class EncoderLayer(Layer):
    """One layer over the patches."""

    def forward(self, x: Tensor, places: Tensor, seen: Tensor | None) -> Tensor:
        """x and places (batch, patches, width) → (batch, patches, width)."""
        y = self.norm1(x)
        placed, attention = y + places, self.self_attn
        x = x + self.dropout(attention(attention.queries(placed), attention.keys(placed), attention.values(y), seen))
        return x + self.feed_forward(self.norm2(x))


class DecoderLayer(Layer):
    """One layer over the tokens: each looks at those before it, then at the picture."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__(width, heads, feedforward, dropout)
        self.multihead_attn = Attention(width, heads, dropout)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, places: Tensor, memory: Memory, layer: int, cache: Cache | None, capture: bool
    ) -> tuple[Tensor, Tensor | None]:
        """x (batch, tokens, width) → the same, and the attention to the picture (batch, heads, tokens, patches)."""
        x = x + self.dropout(self._read(self.norm1(x), places, layer, cache))
        seen, attention = self._look(self.norm2(x) + places, memory, layer, capture)
        x = x + self.dropout(seen)
        return x + self.feed_forward(self.norm3(x)), attention

    def _read(self, y: Tensor, places: Tensor, layer: int, cache: Cache | None) -> Tensor:
        """Self-attention of new tokens to all tokens so far."""
        attention, placed = self.self_attn, y + places
        keys, values = attention.keys(placed), attention.values(y)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        new, tokens = y.shape[1], keys.shape[2]
        past = torch.ones(new, tokens, dtype=torch.bool, device=y.device).tril(tokens - new) if new > 1 else None
        return attention(attention.queries(placed), keys, values, past)

    def _look(self, y: Tensor, memory: Memory, layer: int, capture: bool) -> tuple[Tensor, Tensor | None]:
        """Attention to the picture. The beams of one picture are more queries to the same memory, not more memories."""
        attention, (batch, tokens, width) = self.multihead_attn, y.shape
        queries = attention.queries(y.reshape(memory.pictures, -1, width))
        given = queries, memory.keys[layer], memory.values[layer], memory.seen
        if not capture:
            return attention(*given).reshape(batch, tokens, width), None
        x, weights = attention.look(*given)  # weights: (pictures, heads, beams × tokens, patches)
        weights = weights.unflatten(2, (-1, tokens)).transpose(1, 2).flatten(0, 1)
        return x.reshape(batch, tokens, width), weights


class Encoder(nn.Module):
    """All layers over the patches, then a norm."""

    def __init__(self, layers: int, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, places: Tensor, seen: Tensor | None = None) -> Tensor:
        """x and places (batch, patches, width) → (batch, patches, width)."""
        for layer in self.layers:
            x = layer(x, places, seen)
        return self.norm(x)


class Decoder(nn.Module):
    """All layers over the tokens, then a norm."""

    def __init__(self, layers: int, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def remember(
        self, x: Tensor, places: Tensor, rows: int, columns: int, own: tuple[tuple[int, int], ...], seen: Tensor | None
    ) -> Memory:
        """Encoded patches x (pictures, patches, width) → what the layers look at; positions go to the keys alone."""
        attentions: list[Any] = [layer.multihead_attn for layer in self.layers]
        keys = tuple(attention.keys(x + places) for attention in attentions)
        values = tuple(attention.values(x) for attention in attentions)
        return Memory(keys, values, rows, columns, own, seen)

    def forward(
        self, x: Tensor, places: Tensor, memory: Memory, cache: Cache | None = None, capture: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x (batch, tokens, width) → the same, and with `capture` (layers, batch, heads, tokens, patches)."""
        rows: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            x, attention = layer(x, places, memory, index, cache, capture)
            if attention is not None:
                rows.append(attention)
        return self.norm(x), torch.stack(rows) if rows else None


class Embeddings(nn.Module):
    """Tokens → vectors: the word's plus the position's, normalised."""

    def __init__(self, vocabulary: int, positions: int, width: int, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(positions, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def places(self, start: int, count: int) -> Tensor:
        """(count, width): the positions of `count` tokens after the first `start`."""
        positions = self.position_embeddings.num_embeddings
        if start + count > positions:
            raise UsageError(
                f"a caption of {start + count} tokens, the start among them, is too long: there are {positions} "
                "positions; shorten it"
            )
        return self.position_embeddings.weight[start : start + count]

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        """(batch, tokens) → (batch, tokens, width)."""
        return self.dropout(self.LayerNorm(self.word_embeddings(tokens) + places))


def sine_positions(seen: Tensor, width: int) -> Tensor:
    """(pictures, rows, columns) bool, true on the picture → (pictures, rows × columns, width): DETR's sine encoding.

    The first half of the features tells the row, the second the column, each as a fraction of the part that is seen,
    from just above 0 to 2π (Carion et al. 2020, 2005.12872, appendix A.4).
    """
    axes = []
    for axis in (1, 2):
        count = seen.cumsum(axis, dtype=torch.float32)
        last = count.narrow(axis, count.shape[axis] - 1, 1)
        axes.append(_waves(count / (last + 1e-6) * 2 * math.pi, width // 2))
    return torch.cat(axes, dim=-1).flatten(1, 2)


def _waves(angle: Tensor, features: int) -> Tensor:
    """(...) → (..., features): sine and cosine in turn, of ever slower waves."""
    index = torch.arange(features // 2, dtype=torch.float32, device=angle.device)
    waves = angle[..., None] / 10000 ** (2 * index / features)
    return torch.stack([waves.sin(), waves.cos()], dim=-1).flatten(-2)
