"""A network as a module that gives its logits, its attention rows and the direct share of each patch in each class.

What is needed to run it as a plain graph, without a backward pass, is found here once: `Plan`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from regard.errors import NetworkError
from regard.explanation.pictures.direct_logit import direct_logit
from regard.explanation.pictures.flow import collect
from regard.explanation.pictures.gradients import gradients_on
from regard.networks.attention.direct import DirectPath, Norm, last_attention
from regard.networks.attention.recorder import LayerAttention, of_each_head, precise
from regard.networks.attention.trace import layer_count, recording
from regard.networks.network import Network

ALL_CLASSES = 2048
"""Outputs up to which a graph gives the maps of all classes; of more it gives the map of the predicted one."""
_AT_ONCE = 64
"""Classes whose directions are taken at once."""


@dataclass(frozen=True)
class Directions:
    """How what the last attention gives reaches the logits, with the scales of norms left out.

    `first` and `patches` (classes, heads · d) are of the first token's output and of each patch's (an average's share
    is in it), None where the head does not read them; `norms` are those on the way, by their place behind the
    attention. `every`: whether maps of all classes are given.
    """

    layer: int
    first: Tensor | None
    patches: Tensor | None
    norms: tuple[int, ...]
    every: bool


@dataclass(frozen=True)
class Plan:
    """What a graph gives beside logits: the attention of `layers`, of equal `heads`, over `grid` of patches, and maps
    by `directions`; `notes` say what it does not give, and why."""

    layers: tuple[int, ...] = ()
    heads: int = 0
    grid: tuple[int, int] = (0, 0)
    directions: Directions | None = None
    notes: tuple[str, ...] = ()


def plan(network: Network, pixels: Tensor) -> Plan:
    """What the graph of a network gives, found by running it on some `pixels` (batch, 3, height, width), at least two
    pictures."""
    try:
        count = layer_count(network)
    except NetworkError as error:
        return Plan(notes=(f"the graph has logits alone: {error}",))
    layers: list[LayerAttention] = []
    try:
        with recording(network, range(count), layers.append), torch.no_grad():
            network.forward(pixels)
    except NetworkError as error:
        return Plan(notes=(f"the graph has logits alone: {error}",))
    grid = network.anatomy.grid(*map(int, pixels.shape[-2:]))
    patches = grid[0] * grid[1]
    last = count - 1 - (network.anatomy.readers if network.anatomy.reads == "patches" else 0)
    heads = next((layer.heads for layer in layers if layer.layer == last), 0)
    fits = [each.layer for each in layers if each.shape[0] == len(pixels) and each.shape[2] >= patches]
    fits = [each.layer for each in layers if each.layer in fits and each.heads == heads]
    notes = []
    if len(fits) < count:
        left = ", ".join(str(layer) for layer in range(count) if layer not in fits)
        notes.append(f"attention has no layer {left}: windows, or another number of heads")
    directions = None
    try:
        direct_logit(network, pixels)
        directions = find_directions(network, pixels, patches)
    except NetworkError as error:
        notes.append(f"the graph has no map: {error}")
    return Plan(tuple(fits), heads, grid, directions, tuple(notes))


def find_directions(network: Network, pixels: Tensor, patches: int) -> Directions:
    """The direct path from the last attention to the logits. Raises `NetworkError` where tokens that are read are not
    read alike, so that the path is no row of attention."""
    layer = last_attention(network)
    out, logits, _ = _run(network, pixels[:1], layer, None)
    weights = torch.eye(logits.shape[1], device=logits.device, dtype=logits.dtype)
    first = []
    shares = []
    for chunk in weights.split(_AT_ONCE):
        (each,) = torch.autograd.grad(logits, out, chunk[:, None], retain_graph=True, is_grads_batched=True)
        each = each.reshape(len(chunk), -1, *each.shape[-2:])  # (classes, heads, queries, d)
        read = each.abs().amax(dim=(0, 1, 3))  # (queries,)
        before = each.shape[2] - patches
        others = read[1:before] if before > 0 else read[:0]
        if before >= 0:
            share = each[:, :, before:].mean(dim=2, keepdim=True)
            if others.any() or (each[:, :, before:] - share).abs().max() > 1e-4 * each.abs().max():
                raise NetworkError(f"the head of {network.name} reads tokens in its own proportions")
            shares.append(share.transpose(1, 2).flatten(1))  # (classes, heads · d)
        if before:
            first.append(each[:, :, 0].flatten(1))
    on_path = _norms_on_path(network, pixels[:1], layer)
    both = [torch.cat(each).detach() if each else None for each in (first, shares)]
    used = [None if each is None or not each.any() else each for each in both]
    return Directions(layer, used[0], used[1], on_path, len(weights) <= ALL_CLASSES)


def _run(network: Network, pixels: Tensor, layer: int, doubled: int | None) -> tuple[Tensor, Tensor, DirectPath]:
    """What the attention gave, and the logits (1, classes) by the direct path, with every norm's scale one, or two."""

    def scales(index: int, own: Tensor) -> Tensor:
        return torch.full_like(own, 2.0 if index == doubled else 1.0)

    with gradients_on():
        path = DirectPath(network, layer, scales)
        (attended,), logits = collect(network, pixels, layer, layer + 1, gradients=True, also=path.attach)
    return attended.handle, logits, path


def _norms_on_path(network: Network, pixels: Tensor, layer: int) -> tuple[int, ...]:
    """The norms behind the attention on which the direct path depends: not the one before the MLP."""

    def gradient(doubled: int | None) -> tuple[Tensor, int]:
        out, logits, path = _run(network, pixels, layer, doubled)
        weights = torch.arange(1, logits.shape[1] + 1, device=logits.device)  # any but all the same
        return torch.autograd.grad((logits * weights).sum(), out)[0], len(path.norms)

    plain, count = gradient(None)
    on_path = []
    for index in range(count):
        ratio = float((gradient(index)[0] * plain).sum() / plain.square().sum())
        if abs(ratio - 2) < 1e-3:
            on_path.append(index)
        elif abs(ratio - 1) > 1e-3:
            raise NetworkError(f"a norm of {network.name} counts in a part of its way to the logits alone")
    return tuple(on_path)


class WrittenAttention(TorchFunctionMode):
    """Fused attention written out, so that its weights are computed once: for the output and for its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []  # (batch, heads, queries, keys) of each call

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is F.scaled_dot_product_attention:
            return self._attend(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if is_causal:
            raise NetworkError("a graph does not know causal attention")
        if query.ndim == 4:
            key = of_each_head(key, query.shape[1])
            value = of_each_head(value, query.shape[1])
        scores = (query * (scale or query.shape[-1] ** -0.5)) @ key.transpose(-2, -1)
        if attn_mask is not None:
            mask = attn_mask
            mask = torch.zeros_like(scores).masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask
            scores = scores + mask
        weights = scores.softmax(dim=-1)
        self.weights.append(weights)
        return weights @ value


class Explained(nn.Module):
    """`network` as `plan` says: pixels (batch, 3, height, width) → logits (batch, classes), attention (batch, layers,
    heads, patches) and maps (batch, classes or one, rows, columns), of which those are left out that there are not."""

    first: Tensor | None
    patches: Tensor | None

    def __init__(self, network: Network, plan: Plan) -> None:
        super().__init__()
        self.network = network
        self.module = network.module
        self.plan = plan
        if plan.directions is not None:
            self.register_buffer("first", plan.directions.first)
            self.register_buffer("patches", plan.directions.patches)

    @property
    def outputs(self) -> list[str]:
        """The names of what `forward` gives."""
        maps = [] if self.plan.directions is None else ["map"]
        return ["logits", *(["attention"] if self.plan.layers else []), *maps]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        directions = self.plan.directions
        numbers = set(self.plan.layers) | ({directions.layer} if directions is not None else set())
        layers: dict[int, LayerAttention] = {}
        written = WrittenAttention()

        def add(layer: LayerAttention) -> None:
            if layer.eager is None:
                calls = written.weights[-len(layer.calls) :]
                products = [a * b for a, b in zip(layer.coefficients(), calls, strict=True)] if calls[1:] else calls
                layer.eager = torch.stack(products).sum(dim=0) if products[1:] else products[0]
            layers[layer.layer] = layer

        with written, recording(self.network, sorted(numbers), add) as hooks:
            path = None if directions is None else DirectPath(self.network, directions.layer)
            if path is not None:
                path.attach(hooks)
            logits = self.network.forward(pixels)
        results = [logits]
        if self.plan.layers:
            results.append(torch.stack([self._row(layers[number]) for number in self.plan.layers], dim=1))
        if directions is not None and path is not None:
            results.append(self._map(directions, layers[directions.layer], path.norms, logits))
        return tuple(results)

    def _row(self, layer: LayerAttention) -> Tensor:
        """(batch, heads, patches): what the head reads of a layer, as `trace` has it for "pool"."""
        weights = layer.weights()
        patches = self.plan.grid[0] * self.plan.grid[1]
        _, _, queries, keys = weights.shape
        prefix = keys - patches
        single = queries != keys or (self.network.anatomy.reads == "cls" and prefix > 0)
        row = weights[:, :, 0] if single else weights[:, :, prefix:].mean(dim=2)
        return row[..., -patches:]

    def _map(self, directions: Directions, layer: LayerAttention, norms: Sequence[Norm], logits: Tensor) -> Tensor:
        """(batch, classes or one, rows, columns): each patch's value by its weight, along the directions."""
        weights = layer.weights()  # (batch, heads, queries, keys)
        patches = self.plan.grid[0] * self.plan.grid[1]
        value = precise(layer.value)[:, :, -patches:]  # (batch, heads, patches, d)
        predicted = None if directions.every else logits.argmax(dim=1)
        total = None
        for direction, queries, tokens in (
            (self.first, weights[:, :, :1], slice(0, 1)),
            (self.patches, weights[:, :, -patches:], slice(-patches, None)),
        ):
            if direction is None:
                continue
            row = queries[..., -patches:]  # (batch, heads, queries, patches)
            for index in directions.norms:
                scale = norms[index].scale(tokens)  # (batch, queries or 1, 1), or (batch, 1)
                row = row * (scale[:, None] if scale.ndim == 3 else scale[:, None, None])
            given = row.sum(dim=2)[..., None] * value  # (batch, heads, patches, d)
            given = given.transpose(1, 2).flatten(2)  # (batch, patches, heads · d)
            if predicted is None:
                share = given @ direction.T  # (batch, patches, classes)
            else:
                share = (given * direction[predicted][:, None]).sum(dim=-1, keepdim=True)
            total = share if total is None else total + share
        if total is None:
            raise NetworkError(f"the head of {self.network.name} reads no token of its last attention")
        return total.transpose(1, 2).unflatten(2, self.plan.grid)
