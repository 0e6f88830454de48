"""What pictures show of positions: the mean token at each place, and how attention depends on where the key lies.

Both are read at one block while the network runs, fused attention left on: whatever positional encoding a
network has, this is what has become of it there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import NetworkError, UsageError
from regard.networks.attention.recorder import LayerAttention, of_each_head, precise
from regard.networks.attention.trace import recording, stream
from regard.networks.network import Network

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BlockMeans:
    """Means over `n` pictures, at block `layer`.

    `tokens` (rows, columns, width) go into the block, less their mean over places. `logits` (heads, patches, patches)
    are those of its attention from query to key, scaled and with whatever bias is added, less each query's mean over
    keys, which softmax does not see; None where they were not read.
    """

    tokens: Array
    logits: Array | None
    layer: int
    n: int


def block_means(
    network: Network, pictures: Iterable[Tensor], layer: int | None = None, logits: bool = False
) -> BlockMeans:
    """The means over batches (B, 3, H, W), prepared, at a block, by default the last. The network is left as it was.

    Raises `UsageError` for a block that does not exist, or no pictures, and `NetworkError` for a network of no known
    family or, with `logits`, a block that attends within windows.
    """
    blocks = network.anatomy.blocks
    if not blocks:
        raise NetworkError(
            f"where the blocks of {network.name} are is not known to regard, so it reads no tokens there"
        )
    rows, columns = network.anatomy.grid(network.preparation.height, network.preparation.width)
    layer = len(blocks) - 1 if layer is None else layer
    if not 0 <= layer < len(blocks):
        raise UsageError(f"there is no layer {layer}; it goes from 0 to {len(blocks) - 1}")
    sums = _Sums(rows * columns)
    open_network = recording(network, [layer], sums.add_logits) if logits else network.borrow()
    with open_network as hooks, torch.no_grad():
        block = network.module.get_submodule(blocks[layer])
        hooks.append(block.register_forward_pre_hook(sums.add_tokens, with_kwargs=True))
        for batch in pictures:
            network.forward(batch)
    if sums.n == 0:
        raise UsageError("no pictures to look at; give at least one")
    tokens = sums.tokens / sums.n
    mean = sums.logits / sums.n if logits else None
    tokens -= tokens.mean(axis=0)
    return BlockMeans(tokens.reshape(rows, columns, -1), mean, layer, sums.n)


class _Sums:
    """Adds up, over pictures, what goes into a block and the logits of its attention."""

    def __init__(self, patches: int) -> None:
        self.patches = patches
        self.n = 0
        self.tokens: Array = np.zeros(())
        self.logits: Array = np.zeros(())

    def add_tokens(self, block: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        x = stream(args[0] if args else kwargs["hidden_states"])  # (batch, tokens, width)
        self.tokens = self.tokens + _numpy(x[:, -self.patches :].sum(dim=0, dtype=torch.float64))
        self.n += len(x)

    def add_logits(self, attention: LayerAttention) -> None:
        count, queries, keys = attention.shape
        if min(queries, keys) < self.patches:
            raise NetworkError(
                f"block {attention.layer} attends within windows of {queries} patches; choose one that sees the whole "
                "picture (--layer)"
            )
        for picture in range(count):  # one by one: patches × patches of many pictures would fill the memory
            total = self._logits(attention, picture)[:, -self.patches :, -self.patches :]
            self.logits = self.logits + _numpy(total - total.mean(dim=-1, keepdim=True))

    def _logits(self, attention: LayerAttention, picture: int) -> Tensor:
        """(heads, queries, keys), up to a constant for each query."""
        if attention.eager is not None:
            return precise(attention.eager[picture]).log()
        call = attention.calls[0]
        scores = (
            precise(call.q[picture])
            @ precise(of_each_head(call.k, len(call.q[picture]))[picture]).transpose(-2, -1)
            * call.scale
        )
        if call.bias is None:
            return scores
        bias = call.bias if call.bias.ndim == 4 else call.bias[None]
        return scores + bias[picture if len(bias) > 1 else 0]


def _numpy(x: Tensor) -> Array:
    return x.double().cpu().numpy()
