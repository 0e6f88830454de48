"""Direct logit attribution of the last attention: what each patch adds to the class through it, and through no MLP."""

import torch
from torch import Tensor

from regard.errors import NetworkError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps, completeness_of
from regard.explanation.pictures.flow import Flow, collect
from regard.explanation.pictures.gradients import gradients_on
from regard.explanation.pictures.targets import resolve, scores
from regard.networks.attention.direct import ADVICE, DirectPath, last_attention
from regard.networks.attention.recorder import LayerAttention, of_each_head, precise
from regard.networks.attention.replay import resume, token_blocks, watch
from regard.networks.attention.trace import recording
from regard.networks.attention.windows import Windows
from regard.networks.network import Network

INCOMPLETE = 1e-2
"""A remainder larger than this share of the parts means that the path to the logits is not linear."""


def direct_logit(network: Network, pixels: Tensor, *, target: Target = None) -> Maps:
    """Maps (batch, rows, columns) of what the last attention carries from each patch to the class, in logits; signed.

    Σ_h Σ_i A^h_ij · (g_i · W_O^h v_j^h) for patch j: A is the attention of the last layer from tokens i that the head
    reads (CLS, the pooling's query, or the patches where they are averaged), v the values, W_O the output projection
    with the block's layer scale, and g_i the class's direction, carried back through the final norm with its scale
    frozen (Elhage et al. 2021, direct logit attribution; Gandelsman et al. 2024, arXiv 2310.05916, eq. 8). What passes
    the MLP of that block is not in it. The path is linear, so g is exact, and nothing before the last attention is
    differentiated. With the tokens that are no patch the values sum to the logit less what it is where the last
    attention gives nothing: `completeness`. Raises `NetworkError` where they do not.
    """
    layer = last_attention(network)
    blocks = token_blocks(network)
    block = network.anatomy.block_of(layer)
    start = blocks.index(block) if block in blocks else len(blocks)
    flow = Flow(network, pixels)
    with gradients_on():
        path = DirectPath(network, layer)
        tokens: dict[str, Tensor] = {}

        def attach(hooks: list[object]) -> None:
            nonlocal tokens
            path.attach(hooks)
            tokens = watch(network, hooks, (blocks[min(start, len(blocks) - 1)],), before=start < len(blocks))

        (attended,), logits = collect(network, pixels, layer, layer + 1, gradients=True, also=attach)
        targets = resolve(logits, target)
        parts = contributions(flow, attended, scores(logits, targets).sum())
    with torch.no_grad(), recording(network, [layer], lambda layer: None, frozen=True) as hooks:
        DirectPath(network, layer, before=path).attach(hooks)
        (entering,) = tokens.values()
        silent = scores(resume(network, pixels, entering, start), targets)
    values = flow.folded(parts[:, -flow.patches :])
    prefix = parts[:, : -flow.patches].sum(dim=1)
    chosen = scores(logits, targets).detach()
    gap = ((chosen - silent).double() - parts.double().sum(dim=1)).abs()
    size = parts.double().abs().sum(dim=1) + 1e-3 * chosen.double().abs()
    allowed = INCOMPLETE if logits.dtype in (torch.float32, torch.float64) else 10 * INCOMPLETE
    if (gap > allowed * size).any():
        raise NetworkError(
            f"what the last attention of {network.name} gives does not reach its logits by a linear path (off by "
            f"{float((gap / size).max()):.1%}), so that it has no direct share; {ADVICE}"
        )
    completeness = completeness_of(values, chosen, silent, prefix)
    return as_maps(values, targets, logits=logits, completeness=completeness)


def contributions(flow: Flow, layer: LayerAttention, score: Tensor) -> Tensor:
    """(batch, tokens): Σ_h Σ_i A_ij ∂score/∂A_ij of one layer, whose output is linear in A."""
    handles = [layer.eager] if layer.eager is not None else [call.out for call in layer.calls]
    try:
        gradients = torch.autograd.grad(score, handles)
    except RuntimeError as error:
        raise NetworkError(
            f"what the last attention of {flow.network.name} gives does not reach its logits directly; {ADVICE}"
        ) from error
    with torch.no_grad():
        if layer.eager is not None:
            each = precise(layer.eager * gradients[0]).sum(dim=(1, 2))  # (batch, tokens)
        else:
            each = sum((_of_call(layer, at, gradient) for at, gradient in enumerate(gradients)), torch.zeros(()))
    windows = Windows.of(*flow.grid, len(each) // flow.batch, each.shape[1], flow.network.anatomy.prefix)
    return each if windows is None else windows.join(each)


def _of_call(layer: LayerAttention, index: int, gradient: Tensor) -> Tensor:
    """(batch, tokens): v_j · Σ_i A_ij ∂score/∂out_i, summed over heads; only of queries that have any gradient."""
    call = layer.calls[index]
    heads = call.q.shape[1]
    gradient = gradient.unflatten(0, (-1, heads)) if gradient.ndim == 3 else gradient  # (batch, heads, queries, d)
    rows = gradient.ne(0).any(dim=-1).flatten(0, 1).any(dim=0).nonzero()[:, 0]
    back = call.weights(rows).transpose(2, 3) @ precise(gradient[:, :, rows])  # (batch, heads, keys, d)
    return (back * precise(of_each_head(call.v, heads))).sum(dim=(1, 3))
