"""Attention as the network computed it: one layer's rows, and all layers multiplied."""

import torch
from torch import Tensor

from regard.explanation import Maps
from regard.explanation.pictures.cells import as_maps
from regard.explanation.pictures.flow import Flow, Query, collect
from regard.networks.attention.trace import trace
from regard.networks.network import Network


def attention(
    network: Network,
    pixels: Tensor,
    *,
    layer: int | None = None,
    head: int | None = None,
    query: Query = None,
) -> Maps:
    """Maps (batch, rows, columns) of the attention that a token pays to each patch: values in [0, 1].

    The weights are softmax(q kᵀ / √d) (Dosovitskiy et al. 2021, eq. 6 of appendix A) of one `layer`, by default the
    last, and of one `head` or the mean over heads. `query` is a patch as (row, column), or None for what the network's
    head reads: CLS, the query of its pooling by attention (the layer behind the blocks), or the average over patches
    where those are averaged. Weights sum to one over all tokens, so that a map sums to one less what prefix tokens
    take. Raises `UsageError` for a layer, head or query that does not exist, and `NetworkError` for a network without
    attention.
    """
    logits, traced = trace(network, pixels, layers=layer, heads=head, queries="pool" if query is None else [query])
    (number,) = traced.attention  # one layer
    return as_maps(traced.patches(number).mean(dim=(1, 2)), logits=logits)


def rollout(network: Network, pixels: Tensor, *, query: Query = None, start: int = 0) -> Maps:
    """Maps (batch, rows, columns) of attention rolled out from the last layer to layer `start`: values in [0, 1].

    Ã = Π ½ (A_l + I), A_l the mean over heads (Abnar and Zuidema 2020, section 3); of it the row of `query`, by default
    of what the network's head reads. One row is carried from the last layer down, so that no two N × N matrices are
    ever multiplied. Rows of Ã sum to one over all tokens.
    """
    flow = Flow(network, pixels, query)
    layers, logits = collect(network, pixels, start)
    with torch.no_grad():
        for layer in flow.down(layers):
            flow.mix(layer, layer.weights, keep=0.5, add=0.5)
    return as_maps(flow.map(), logits=logits)
