"""Attention as the network computed it: the weights with which one token reads the patches."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.networks.network import Network
from regard.networks.trace import trace

Query = tuple[int, int] | None


def attention(
    network: Network, pixels: Tensor, *, layer: int | None = None, head: int | None = None, query: Query = None
) -> NDArray[np.float32]:
    """Maps (batch, rows, columns) of the attention that a token pays to each patch: values in [0, 1].

    The weights are softmax(q kᵀ / √d) (Dosovitskiy et al. 2021, eq. 6 of appendix A) of one `layer`, by default the
    last, and of one `head` or the mean over heads. `query` is a patch as (row, column), or None for CLS. Weights sum
    to one over all tokens, so that a map sums to one less what prefix tokens take. Raises `UsageError` for a layer,
    head or query that does not exist, and `NetworkError` for a network without attention.
    """
    _, traced = trace(network, pixels, layers=layer, heads=head, queries="cls" if query is None else [query])
    (rows,) = traced.attention.values()  # one layer: (batch, heads, 1, tokens)
    patches = rows.mean(dim=1)[:, 0, traced.prefix :]
    return patches.unflatten(1, (traced.rows, traced.columns)).float().cpu().numpy()
