"""Run a network once and get its logits and, beside them, what passed inside: attention rows, norms, queries and keys.

Fused attention stays on; the rows that are wanted are made again from the queries and keys that pass by, so those of
the class token in all layers cost about a hundredth of a forward, and memory is layers × heads × queries × tokens.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from regard.errors import NetworkError, UsageError
from regard.networks.attention.recorder import AttentionRecorder, LayerAttention
from regard.networks.attention.windows import Windows
from regard.networks.guard import borrowed
from regard.networks.network import Network

Queries = str | Iterable[int] | Iterable[tuple[int, int]]
PARTS = ("norms", "inputs", "queries", "keys", "values")
_AT_ONCE = 512
"""How many rows of attention are made at once where only their mean is kept."""


@dataclass(frozen=True)
class Trace:
    """What a network attended to.

    `attention` maps a layer to (batch, heads, queries, tokens), whose rows sum to one (but where a network subtracts
    or mixes attentions, or attends to the padding of a window); float32, or float64 where the network is. The last
    `rows` × `columns` tokens are patches, row by row; of a layer that no prefix tokens take part in, they are all there
    are. `heads` and `queries` are those that were asked for, in that order, `queries` as token indices, or as "pool".

    On request, by layer: `norms` (batch, tokens), the length of each token as the block leaves it; `inputs` (batch,
    tokens, width), as the block gets it; `queries`, `keys`, `values` (batch, heads, tokens, d), as attention gets them.
    """

    attention: Mapping[int, Tensor]
    heads: tuple[int, ...]
    queries: tuple[int, ...] | str
    prefix: int
    rows: int
    columns: int
    norms: Mapping[int, Tensor] = field(default_factory=dict)
    inputs: Mapping[int, Tensor] = field(default_factory=dict)
    parts: Mapping[str, Mapping[int, Tensor]] = field(default_factory=dict)

    def patches(self, layer: int) -> Tensor:
        """(batch, heads, queries, rows, columns): the attention that a layer pays to each patch."""
        return self.attention[layer][..., -self.rows * self.columns :].unflatten(-1, (self.rows, self.columns))


def trace(
    network: Network,
    x: Tensor,
    *,
    layers: int | str | Iterable[int] | None = None,
    heads: int | Iterable[int] | None = None,
    queries: Queries = "cls",
    also: Iterable[str] = (),
) -> tuple[Tensor, Trace]:
    """Normalised pictures (B, 3, H, W) → the logits (B, classes) and the attention rows that were asked for.

    `layers` are indices from 0, "all", or None for the last that has such queries; a pooling by attention is the layer
    behind the blocks.
    `heads` are indices, or None for all; `queries` is "cls", "all" (every token: the full N × N), (row, column) pairs
    of patches, token indices, or "pool": what the network's head reads, which is CLS, the pooling's own query, or,
    where it averages the patches, the average of their rows. `also` names more of `PARTS` to keep. The network is left
    as it was found, after an exception too. Raises `UsageError` for an index out of range, naming the range, and
    `NetworkError` for a network whose attention regard does not know.
    """
    network.check(x)
    count = layer_count(network)
    more = _more(also)
    rows, columns = network.anatomy.grid(int(x.shape[-2]), int(x.shape[-1]))
    asked = _queries(queries, network, rows, columns)
    own = network.anatomy.reads != "patches" and asked in ("cls", "pool")
    default = count - 1 if own else count - 1 - network.anatomy.readers
    wanted = _layers(layers, count, default)
    reader = _Rows(network, len(x), (rows, columns), heads, asked, more)
    with recording(network, wanted, reader.take) as hooks, torch.no_grad():
        streams = watch_blocks(network, hooks, more & {"norms", "inputs"}, wanted)
        logits = network.forward(x)
    reader.check(wanted)
    found = {layer: reader.found[layer] for layer in wanted}
    shape = (network.anatomy.prefix, rows, columns)
    return logits, Trace(found, reader.chosen, asked, *shape, streams["norms"], streams["inputs"], reader.parts)


@contextmanager
def recording(
    network: Network,
    layers: Iterable[int],
    on_layer: Callable[[LayerAttention], None],
    *,
    gradients: bool = False,
    frozen: bool = False,
) -> Iterator[list[Any]]:
    """The network lent out with its attention recorded at these layers; yields the list for more hooks.

    `gradients` and `frozen`: see `AttentionRecorder` and `borrowed`.
    """
    module = network.module
    attentions = [(layer, module.get_submodule(network.anatomy.attentions[layer])) for layer in layers]
    with borrowed(module, frozen=frozen, switches=network.anatomy.switches) as hooks:
        AttentionRecorder(attentions, on_layer, gradients).attach(hooks)
        yield hooks


def layer_count(network: Network) -> int:
    """The number of layers; the clear error for a network that has no attention rows that regard could show."""
    if not network.anatomy.attentions:
        raise NetworkError(
            f"{network.name} ({type(network.module).__name__}) has no attention from token to token that regard can "
            "read; it can be trained and evaluated, and methods by gradient or perturbation work there"
        )
    return len(network.anatomy.attentions)


def watch_blocks(
    network: Network, hooks: list[Any], names: Iterable[str], layers: Iterable[int]
) -> dict[str, dict[int, Tensor]]:
    """Keep what goes into the blocks of these layers ("inputs") or the lengths of what comes out ("norms")."""
    kept: dict[str, dict[int, Tensor]] = {"norms": {}, "inputs": {}}
    for layer in layers:
        path = network.anatomy.block_of(layer)
        if path is not None and "inputs" in names:
            hook = _keep(kept["inputs"], layer)
            hooks.append(network.module.get_submodule(path).register_forward_pre_hook(hook, with_kwargs=True))
        if path is not None and "norms" in names:
            hooks.append(network.module.get_submodule(path).register_forward_hook(_keep_norm(kept["norms"], layer)))
    return kept


def stream(value: Any) -> Tensor:
    """The residual stream (batch, tokens, width) in what a block was given or gave back."""
    found: Tensor = value[0] if isinstance(value, tuple) else value
    return found.flatten(1, 2) if found.ndim == 4 else found  # (batch, rows, columns, width) in SAM


def _keep(kept: dict[int, Tensor], index: int) -> Callable[..., None]:
    def hook(part: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        kept[index] = stream(args[0] if args else kwargs["hidden_states"])

    return hook


def _keep_norm(kept: dict[int, Tensor], index: int) -> Callable[..., None]:
    def hook(part: Any, inputs: Any, output: Any) -> None:
        kept[index] = stream(output).float().norm(dim=-1)

    return hook


@dataclass
class _Rows:
    """Makes the wanted rows of each layer as it is heard, and keeps nothing else."""

    network: Network
    batch: int
    grid: tuple[int, int]
    heads: int | Iterable[int] | None
    queries: tuple[int, ...] | str
    more: frozenset[str]
    found: dict[int, Tensor] = field(default_factory=dict)
    parts: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    chosen: tuple[int, ...] = ()

    def take(self, heard: LayerAttention) -> None:
        self.chosen = _heads(self.heads, heard.heads)
        heads = None if self.heads is None else torch.tensor(self.chosen, device=heard.handle.device)
        for name, letter in (("queries", "q"), ("keys", "k"), ("values", "v")):
            if name in self.more and heard.calls:
                self.parts.setdefault(name, {})[heard.layer] = getattr(heard.calls[0], letter)
        prefix = self.network.anatomy.prefix
        self.found[heard.layer] = attention_rows(heard, self.batch, self.grid, self._asked(heard), heads, prefix)

    def _asked(self, heard: LayerAttention) -> tuple[int, ...] | str:
        """The wanted queries as this layer has them: its own tokens may be fewer than the network's."""
        patches = self.grid[0] * self.grid[1]
        _, queries, keys = heard.shape
        own = keys - patches  # prefix tokens that take part in this layer
        if queries == keys and self.queries == "cls" and own < 1:
            raise UsageError(f"layer {heard.layer} of {self.network.name} has no class token; {self._offer()}")
        if queries != keys:  # class attention, or the pooling's: it has its own query, and no other
            if self.queries not in ("cls", "pool", "all"):
                raise UsageError(
                    f"layer {heard.layer} of {self.network.name} has the query of its "
                    f"{'class token' if self.network.anatomy.cls else 'pooling'} only; leave the query out there"
                )
            return "all" if self.queries == "all" else (0,)
        if self.queries == "pool":
            return (0,) if self.network.anatomy.reads == "cls" and own > 0 else "mean"
        if isinstance(self.queries, str):
            return (0,) if self.queries == "cls" else self.queries
        shift = max(self.network.anatomy.prefix - own, 0) if keys >= patches else 0
        if min(self.queries) < shift:
            raise UsageError(
                f"layer {heard.layer} of {self.network.name} has no token {min(self.queries)}; {self._offer()}"
            )
        return tuple(index - shift for index in self.queries)

    def _offer(self) -> str:
        rows, columns = self.grid
        return f"give patches as queries: (row, column) from (0, 0) to ({rows - 1}, {columns - 1}), or 'pool'"

    def check(self, wanted: Sequence[int]) -> None:
        silent = sorted(set(wanted) - set(self.found))
        if silent:
            raise NetworkError(f"{self.network.name} ran without its attention in layers {silent}")


def attention_rows(
    heard: LayerAttention,
    batch: int,
    grid: tuple[int, int],
    queries: tuple[int, ...] | str,
    heads: Tensor | None = None,
    prefix: int = 0,
) -> Tensor:
    """(batch, heads, queries, tokens): rows of one layer, of windowed attention too, whose rows are zero elsewhere.

    `queries` are token indices of this layer, "all", or "mean", the average over patches as one row.
    """
    rows, columns = grid
    patches, (count, own, keys) = rows * columns, heard.shape
    windows = Windows.of(rows, columns, count // batch, keys, prefix) if own == keys else None
    if windows is not None:
        return _window_rows(windows, heard.weights(heads=heads), batch, queries)
    if count != batch or not patches <= keys <= patches + max(prefix, 1):  # class attention adds one of its own
        raise NetworkError(
            f"layer {heard.layer} attends to {count} × {keys} tokens, where {batch} pictures of {patches} patches with "
            f"up to {prefix} more were expected; give pictures that hold whole patches"
        )
    if queries == "all":
        return heard.weights(heads=heads)
    if queries == "mean":
        return _mean(heard, own - patches, heads)
    return heard.weights(torch.tensor(queries, device=heard.handle.device), heads)


def _window_rows(windows: Windows, weights: Tensor, batch: int, queries: tuple[int, ...] | str) -> Tensor:
    if queries == "mean":
        return windows.mean(weights, batch)
    return windows.full(weights, batch) if isinstance(queries, str) else windows.some(weights, batch, queries)


def _mean(heard: LayerAttention, first: int, heads: Tensor | None) -> Tensor:
    """The mean over the rows from `first` on, a few at a time: all at once would be the full N × N."""
    own = heard.shape[1]
    some = torch.arange(first, own, device=heard.handle.device).split(_AT_ONCE)
    total = sum(heard.weights(rows, heads).sum(dim=2, keepdim=True) for rows in some)
    return torch.as_tensor(total) / (own - first)


def _more(also: Iterable[str]) -> frozenset[str]:
    names = frozenset(also)
    if not names <= set(PARTS):
        raise UsageError(f"unknown parts {sorted(names - set(PARTS))} of a trace; there are: {', '.join(PARTS)}")
    return names


def _layers(layers: int | str | Iterable[int] | None, count: int, default: int) -> tuple[int, ...]:
    if layers is None:
        return (default,)
    if isinstance(layers, str):
        if layers != "all":
            raise UsageError(
                f"unknown layers {layers!r}; give indices from 0 to {count - 1}, 'all', or None for the last"
            )
        return tuple(range(count))
    return indices("layer", layers, count)


def _heads(heads: int | Iterable[int] | None, count: int) -> tuple[int, ...]:
    return tuple(range(count)) if heads is None else indices("head", heads, count)


def _queries(queries: Queries, network: Network, rows: int, columns: int) -> tuple[int, ...] | str:
    """Token indices of the wanted rows, or a word."""
    prefix, tokens = network.anatomy.prefix, network.anatomy.prefix + rows * columns
    if isinstance(queries, str):
        if queries not in ("all", "cls", "pool"):
            raise UsageError(
                f"unknown queries {queries!r}; give 'cls', 'pool', 'all', (row, column) pairs or token indices"
            )
        if queries == "cls" and not network.anatomy.cls:
            raise UsageError(
                f"{network.name} has no class token; give patches as queries: (row, column) from (0, 0) to "
                f"({rows - 1}, {columns - 1}), or 'pool' for what its head reads"
            )
        return queries
    items = [item if isinstance(item, Sequence) else int(operator.index(item)) for item in queries]
    patches = [_patch(item, rows, columns) + prefix for item in items if isinstance(item, Sequence)]
    if patches and len(patches) == len(items):
        return tuple(patches)
    if patches:
        raise UsageError("queries mixes patches and tokens; give (row, column) pairs only, or token indices only")
    return indices("query token", [item for item in items if isinstance(item, int)], tokens)


def _patch(place: Sequence[int], rows: int, columns: int) -> int:
    if len(place) == 2 and 0 <= place[0] < rows and 0 <= place[1] < columns:
        return place[0] * columns + place[1]
    raise UsageError(f"there is no patch {tuple(place)}; (row, column) goes from (0, 0) to ({rows - 1}, {columns - 1})")


def indices(kind: str, came: int | Iterable[int], count: int) -> tuple[int, ...]:
    """Indices from 0, each of which must exist. Raises `UsageError`, naming the range."""
    found = (came,) if isinstance(came, int) else tuple(int(operator.index(index)) for index in came)
    wrong = [index for index in found if not 0 <= index < count]
    if wrong or not found:
        raise UsageError(f"there is no {kind} {wrong[0] if wrong else '()'}; it goes from 0 to {count - 1}")
    return found
