"""A network as a module that gives its logits, its attention rows and the direct share of each patch in each class.

What is needed to run it as a plain graph, without a backward pass, is found here once: `Plan`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
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
LIMIT = 1e-4
"""How far maps of constant directions may be from those of `direct_logit`, relative to the largest value."""
_AT_ONCE = 64
"""Classes whose directions are taken at once."""


@dataclass(frozen=True)
class Directions:
    """How what the last attention gives reaches the logits, with the scales of norms left out.

    `tokens` are (place, (classes, heads · d)) of what the head reads before the patches (CLS, a pooling's query);
    `patches` (classes, heads · d) is of each patch's output (an average's share is in it), None where the head does not
    read them; `norms` are those on the way, by their place behind the attention. `every`: whether maps of all classes
    are given.
    """

    layer: int
    tokens: tuple[tuple[int, Tensor], ...]
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
    most = patches + max(network.anatomy.prefix, 1)  # class attention adds a token of its own
    whole = [each for each in layers if each.shape[0] == len(pixels) and patches <= each.shape[2] <= most]
    fits = tuple(each.layer for each in whole if each.heads == heads)
    notes = []
    if len(fits) < count:
        left = ", ".join(str(layer) for layer in range(count) if layer not in fits)
        notes.append(f"attention has no layer {left}: windows, or another number of heads")
    without_map = Plan(fits, heads, grid, None, tuple(notes))
    try:
        reference = direct_logit(network, pixels, target=0).values
        directions = find_directions(network, pixels, patches)
        graph = Explained(network, replace(without_map, directions=replace(directions, every=True))).eval()
        with torch.no_grad():
            maps = graph(pixels)[-1][:, 0]  # (batch, rows, columns), of class 0
        difference = float((maps - torch.from_numpy(reference)).abs().max() / np.abs(reference).max())
        if not difference <= LIMIT:
            raise NetworkError(f"{network.name} has another path from its last attention to its logits in each picture")
    except NetworkError as error:
        return replace(without_map, notes=(*notes, f"the graph has no map: {error}"))
    return replace(without_map, directions=directions)


def find_directions(network: Network, pixels: Tensor, patches: int) -> Directions:
    """The direct path from the last attention to the logits. Raises `NetworkError` where patches that are read are not
    read alike, or heads are normed one by one, so that the path is no row of attention."""
    layer = last_attention(network)
    attended, logits, path = _run(network, pixels[:1], layer, None)
    if attended.eager is not None or any(norm.x.ndim > 3 for norm in path.norms):
        raise NetworkError(f"the last attention of {network.name} is written out, or what it gives is normed in parts")
    weights = torch.eye(logits.shape[1], device=logits.device, dtype=logits.dtype)
    tokens: dict[int, list[Tensor]] = {}
    shares = []
    for chunk in weights.split(_AT_ONCE):
        (each,) = torch.autograd.grad(logits, attended.handle, chunk[:, None], retain_graph=True, is_grads_batched=True)
        each = each.reshape(len(chunk), -1, *each.shape[-2:])  # (classes, heads, queries, d)
        before = each.shape[2] - patches if each.shape[2] >= patches else each.shape[2]
        for place in range(before):
            tokens.setdefault(place, []).append(each[:, :, place].flatten(1))
        share = each[:, :, before:]
        if share.shape[2]:
            shares.append(share.mean(dim=2).flatten(1))  # (classes, heads · d)
            if (share - share.mean(dim=2, keepdim=True)).abs().max() > LIMIT * each.abs().max():
                raise NetworkError(f"the head of {network.name} reads patches in its own proportions")
    single = [(place, torch.cat(parts).detach()) for place, parts in tokens.items()]
    common = torch.cat(shares).detach() if shares else None
    return Directions(
        layer,
        tuple((place, direction) for place, direction in single if direction.any()),
        common if common is not None and common.any() else None,
        _norms_on_path(network, pixels[:1], layer),
        len(weights) <= ALL_CLASSES,
    )


def _run(
    network: Network, pixels: Tensor, layer: int, doubled: int | None
) -> tuple[LayerAttention, Tensor, DirectPath]:
    """What the attention gave, and the logits (1, classes) by the direct path, with every norm's scale one, or two."""

    def scales(index: int, scale: Tensor) -> Tensor:
        return torch.full_like(scale, 2.0 if index == doubled else 1.0)

    with gradients_on():
        path = DirectPath(network, layer, scales)
        (attended,), logits = collect(network, pixels, layer, layer + 1, gradients=True, also=path.attach)
    return attended, logits, path


def _norms_on_path(network: Network, pixels: Tensor, layer: int) -> tuple[int, ...]:
    """The norms behind the attention on which the direct path depends: not the one before the MLP."""

    def gradient(doubled: int | None) -> tuple[Tensor, int]:
        attended, logits, path = _run(network, pixels, layer, doubled)
        weights = torch.arange(1, logits.shape[1] + 1, device=logits.device)  # any but all the same
        return torch.autograd.grad((logits * weights).sum(), attended.handle)[0], len(path.norms)

    plain, count = gradient(None)
    on_path = []
    for index in range(count):
        ratio = float((gradient(index)[0] * plain).sum() / plain.square().sum())
        if abs(ratio - 2) < 1e-3:
            on_path.append(index)
        elif abs(ratio - 1) > 1e-3:
            raise NetworkError(f"a norm of {network.name} counts in a part of its way to the logits alone")
    return tuple(on_path)


class UnfusedAttention(TorchFunctionMode):
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

    def __init__(self, network: Network, plan: Plan) -> None:
        super().__init__()
        self.network = network
        self.module = network.module
        self.plan = plan
        if plan.directions is not None:
            for place, direction in plan.directions.tokens:
                self.register_buffer(f"token{place}", direction)
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
        unfused = UnfusedAttention()

        def add(layer: LayerAttention) -> None:
            if layer.eager is None:
                latest = unfused.weights[-len(layer.calls) :]
                calls = [w if w.ndim == 4 else w.unflatten(0, (-1, layer.calls[0].q.shape[1])) for w in latest]
                products = [a * b for a, b in zip(layer.coefficients(), calls, strict=True)] if calls[1:] else calls
                layer.eager = torch.stack(products).sum(dim=0) if products[1:] else products[0]
            layers[layer.layer] = layer

        with unfused, recording(self.network, sorted(numbers), add) as hooks:
            path = None if directions is None else DirectPath(self.network, directions.layer)
            if path is not None:
                path.attach(hooks)
            logits = self.network.forward(pixels)
        results = [logits]
        grid = self.network.anatomy.grid(pixels.shape[2], pixels.shape[3]) if self.plan.layers else (0, 0)
        if self.plan.layers:
            rows = [self._row(layers[number], grid[0] * grid[1]) for number in self.plan.layers]
            results.append(torch.stack(rows, dim=1))
        if directions is not None and path is not None:
            shares = self._shares(directions, layers[directions.layer], path.norms, logits, grid[0] * grid[1])
            results.append(shares.unflatten(2, grid))
        return tuple(results)

    def _row(self, layer: LayerAttention, patches: int) -> Tensor:
        """(batch, heads, patches): what the head reads of a layer, as `trace` has it for "pool"."""
        weights = layer.weights()
        _, _, queries, keys = weights.shape
        prefix = keys - patches
        single = queries != keys or (self.network.anatomy.reads == "cls" and prefix > 0)
        row = weights[:, :, 0] if single else weights[:, :, prefix:].mean(dim=2)
        return row[..., -patches:]

    def _shares(
        self, directions: Directions, layer: LayerAttention, norms: Sequence[Norm], logits: Tensor, patches: int
    ) -> Tensor:
        """(batch, classes or one, patches): each patch's value by its weight, along the directions."""
        weights = layer.weights()  # (batch, heads, queries, keys)
        value = precise(layer.value)[:, :, -patches:]  # (batch, heads, patches, d)
        predicted = None if directions.every else logits.argmax(dim=1)
        reads = [(f"token{place}", slice(place, place + 1)) for place, _ in directions.tokens]
        reads += [("patches", slice(-patches, None))] if directions.patches is not None else []
        total = None
        for name, tokens in reads:
            direction: Tensor = self.get_buffer(name)
            row = weights[:, :, tokens, -patches:]  # (batch, heads, queries, patches)
            for index in directions.norms:
                scale = norms[index].scale(tokens)  # (batch, queries or 1, 1), or (batch, 1)
                row = row * (scale[:, None] if scale.ndim == 3 else scale[:, None, None])
            weighted = row.sum(dim=2)[..., None] * value  # (batch, heads, patches, d)
            weighted = weighted.transpose(1, 2).flatten(2)  # (batch, patches, heads · d)
            if predicted is None:
                share = weighted @ direction.T  # (batch, patches, classes)
            else:
                share = (weighted * direction[predicted][:, None]).sum(dim=-1, keepdim=True)
            total = share if total is None else total + share
        if total is None:
            raise NetworkError(f"the head of {self.network.name} reads no token of its last attention")
        return total.transpose(1, 2)
