"""The attention of captioners to the picture: which of it is captured, and the one place where that is done.

Fused attention is recorded as a ViT's is, by `AttentionRecorder`: the decoders of regard's own captioners, language
models with the picture among their tokens, BLIP-2's Q-Former. Only the rows that are needed are ever computed. Where a
decoder's attention cannot be fused (GIT's, scores with a cap), or where transformers alone knows which of a decoder's
modules look at the picture (its encoder-decoders), it is eager and its weights are taken: docs/decisions/0010.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.attention.recorder import AttentionRecorder, LayerAttention

Head = int | Literal["mean"] | None


@dataclass(frozen=True)
class Capture:
    """Which attention is captured: of one `layer`, from 0, or all (None); of one `head`, all (None), or their mean."""

    layer: int | None = None
    head: Head = "mean"

    def includes(self, layer: int) -> bool:
        """Whether a layer is captured."""
        return self.layer in (None, layer)

    def heads(self, attention: Tensor) -> Tensor:
        """(batch, heads, rows, keys) → the same with the heads that are captured; a mean is one head."""
        if self.head == "mean":
            return attention.mean(1, keepdim=True)
        return attention if self.head is None else attention[:, self.head : self.head + 1]

    def of(self, layers: Sequence[Tensor]) -> Tensor:
        """The attention (batch, heads, rows, keys) of every layer → (layers, batch, heads, rows, keys) captured."""
        return torch.stack([self.heads(each) for index, each in enumerate(layers) if self.includes(index)])


class RowRecorder:
    """Collects the last rows of each call of some modules' attention: those of a decoder's newest tokens.

    `modules` attend, one a layer, by `heads` heads. Of each call the last `count` rows are taken, by default all, and
    of their `keys` (indices) those that are patches, by default all. With `eager` the second output of the modules is
    their weights, and taken from there.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        heads: int,
        capture: Capture,
        count: int | None = None,
        keys: Tensor | None = None,
        *,
        eager: bool = False,
    ) -> None:
        self.modules = [(layer, module) for layer, module in enumerate(modules) if capture.includes(layer)]
        self.head_count = heads
        self.capture = capture
        self.count = count
        self.keys = keys
        self.eager = eager
        self.rows: dict[int, list[Tensor]] = {}  # by layer, call after call

    def attach(self, hooks: list[Any]) -> None:
        """Hook the modules; `borrowed`, whose list of hooks it is, ends the recording when it removes them."""
        if self.eager:
            hooks.extend(module.register_forward_hook(self._eager(layer)) for layer, module in self.modules)
        else:
            AttentionRecorder(self.modules, self._fused).attach(hooks)

    def attention(self) -> Tensor:
        """All that came so far, (layers, batch, heads, rows, keys)."""
        if not self.rows:
            raise NetworkError("the network ran without the attention that was to be captured; report this")
        return torch.stack([torch.cat(self.rows[layer], dim=2) for layer in sorted(self.rows)])

    def _fused(self, layer: LayerAttention) -> None:
        batch, queries, keys = layer.shape
        last = None
        # Of a single token transformers lays the heads that share keys along the queries: all of them are its one row.
        if self.count is not None and self.count < queries and layer.heads == self.head_count:
            last = torch.arange(queries - self.count, queries, device=layer.handle.device)
        self.add(layer.layer, layer.weights(last).reshape(batch, self.head_count, -1, keys))

    def _eager(self, layer: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
            self.add(layer, output[1] if self.count is None else output[1][:, :, -self.count :])

        return hook

    def add(self, layer: int, weights: Tensor) -> None:
        """The rows (batch, heads, rows, keys) of one call."""
        weights = weights if self.keys is None else weights[..., self.keys]
        self.rows.setdefault(layer, []).append(self.capture.heads(weights))

    def project(self, keys: Tensor) -> None:
        """Put other things in the place of keys: (..., keys) @ (keys, others)."""
        self.rows = {layer: [each @ keys for each in calls] for layer, calls in self.rows.items()}


class TraceRecorder(RowRecorder):
    """Beside what is captured, the mean over heads of every layer, to all keys."""

    def __init__(self, modules: Sequence[nn.Module], *settings: Any, **more: Any) -> None:
        super().__init__(modules, *settings, **more)
        self.modules = list(enumerate(modules))
        self.layers: dict[int, Tensor] = {}

    def add(self, layer: int, weights: Tensor) -> None:
        self.layers[layer] = weights.mean(1)
        if self.capture.includes(layer):
            super().add(layer, weights)

    def means(self) -> Tensor:
        """(layers, batch, rows, keys)."""
        return torch.stack([self.layers[layer] for layer in sorted(self.layers)])
