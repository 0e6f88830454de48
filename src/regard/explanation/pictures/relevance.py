"""Relevance by gradients of attention: what each layer's attention does for one class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from regard.errors import NetworkError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps
from regard.explanation.pictures.flow import Flow, collect
from regard.explanation.pictures.gradients import detached, gradients_of, gradients_on
from regard.explanation.pictures.targets import resolve, scores
from regard.networks.attention.recorder import LayerAttention
from regard.networks.attention.replay import resume, token_blocks, watch
from regard.networks.attention.trace import indices, layer_count, recording, stream
from regard.networks.attention.windows import Windows
from regard.networks.network import Network


def grad_attention(network: Network, pixels: Tensor, *, target: Target = None, start: int = 0) -> Maps:
    """Maps (batch, rows, columns) of Chefer et al. 2021: at least 0, no upper bound.

    Ā_l = E_h[(∂y/∂A_l ⊙ A_l)⁺] (eq. 5), R ← R + Ā_l R from layer `start` on (eq. 6); of R the row of what the network's
    head reads, where patches are averaged the average of their rows. y is the class's logit, or the difference of two.
    """
    with gradients_on():
        layers, logits = collect(network, pixels, start, gradients=True)
        targets = resolve(logits, target)
        handles = [layer.handle for layer in layers]
        each = gradients_of(scores(logits, targets).sum(), handles, allow_unused=True)
    gradients = {layer.layer: gradient for layer, gradient in zip(layers, each, strict=True)}
    flow = Flow(network, pixels)
    for layer in flow.down(layers):

        def positive(rows: Tensor | None, layer: LayerAttention = layer) -> Tensor:
            """(batch, heads, rows, tokens): attention times its gradient, where that is positive."""
            return layer.weights_gradient(gradients[layer.layer], rows).mul(layer.weights(rows)).clamp_(min=0)

        with torch.no_grad():
            flow.mix(layer, positive, keep=1, add=1)
    return as_maps(flow.map(), targets)


def middle_layer(network: Network) -> int:
    """Where `transition` starts by default: at the middle one of the layers below the head's own."""
    return (len(network.anatomy.attentions) - network.anatomy.readers) // 2


def transition(
    network: Network, pixels: Tensor, *, target: Target = None, start: int | None = None, steps: int = 20
) -> Maps:
    """Maps (batch, rows, columns) of Beyond Intuition, token-wise (Chen et al. 2023): at least 0, no upper bound.

    Perception: R ← R + (Ā_l M_l) R from layer `start` on, by default the middle block's, with M_l = diag(‖γ ⊙ W_O v_j‖
    / ‖z_j‖) over tokens j, where z is what the block gets and γ its layer scale, if it has one. Feedback: W = E_h[(mean
    over `steps` of ∂y/∂A_last)⁺] on the way from a grey picture. The map is W ⊙ R in the row of what the head reads;
    where it averages patches, the mean over them.
    """
    layer_count(network)
    start = middle_layer(network) if start is None else start
    inputs: dict[str, Tensor] = {}

    def watch_inputs(hooks: list[Any]) -> None:
        nonlocal inputs
        inputs = watch(network, hooks, network.anatomy.blocks, before=True)

    flow = Flow(network, pixels, each=True)
    with torch.no_grad():
        layers, logits = collect(network, pixels, start, also=watch_inputs)
        targets = resolve(logits, target)
        for layer in flow.down(layers):
            flow.mix(layer, layer.weights, keep=1, add=1, columns=_ratio(flow, layer, inputs))
    feedback = _feedback(network, pixels, targets, steps)  # (batch, sources, patches)
    return as_maps(flow.folded((feedback * flow.patch_rows()).mean(dim=1)), targets)


_SCALES = ("ls1", "ls", "ls_1", "gamma_1", "gamma1", "layer_scale1", "lambda_1")
"""What blocks call the scale of what their attention adds, in timm, open_clip and transformers."""


def layer_scale(network: Network, layer: int) -> Tensor | None:
    """(width,): by what a block multiplies what its attention gives, before it is added; None where it does not."""
    attention = network.anatomy.attentions[layer]
    block = network.anatomy.block_of(layer)
    for path in (attention.rpartition(".")[0], block):
        part = None if path is None else network.module.get_submodule(path)
        for name in _SCALES:
            scale = getattr(part, name, None)
            vectors = [scale] if isinstance(scale, Tensor) else list(scale.parameters()) if scale is not None else []
            if vectors and vectors[0].ndim == 1:
                return vectors[0].detach()
    return None


def _ratio(flow: Flow, layer: LayerAttention, inputs: dict[str, Tensor]) -> Tensor | None:
    """(batch, tokens): the length of what a token gives away, γ ⊙ W_O v, as a share of the length that it has.

    None for a layer with a query of its own, whose row is taken as it is: there is no residual to compare with.
    """
    block = flow.network.anatomy.block_of(layer.layer)
    _, queries, keys = layer.shape
    if block is None or layer.project is None or queries != keys:
        return None
    value = layer.value.transpose(1, 2).flatten(2)  # (batch, tokens, heads · d)
    project = layer.project[:, : value.shape[-1]].to(value.dtype)  # parallel blocks project the MLP's behind it
    scale = layer_scale(flow.network, layer.layer)
    if scale is not None:
        project = project * scale.to(value.dtype)[:, None]
    projected = (value @ project.T).norm(dim=-1)  # ‖W_O v‖, (batch, tokens)
    length = stream(inputs[block]).norm(dim=-1)  # ‖z‖, (batch, tokens)
    windows = Windows.of(*flow.grid, len(projected) // flow.batch, keys, flow.network.anatomy.prefix)
    projected = projected if windows is None else windows.join(projected)
    return projected / length.clamp_min(torch.finfo(length.dtype).tiny)


def _feedback(network: Network, pixels: Tensor, targets: Sequence[Target], steps: int) -> Tensor:
    """(batch, sources, patches): W, averaged over pictures between grey and the picture, both ends counted."""
    flow = Flow(network, pixels, each=True)
    last = flow.last_layer()
    total = torch.zeros(())
    for share in torch.linspace(0, 1, steps).tolist():
        with gradients_on():
            (layer,), logits = collect(network, pixels * share, last, last + 1, gradients=True)
            (gradient,) = gradients_of(scores(logits, targets).sum(), [layer.handle])
        if Windows.of(*flow.grid, layer.shape[0] // flow.batch, layer.shape[2], network.anatomy.prefix) is not None:
            raise NetworkError(f"the last layer of {network.name} attends in windows; use grad_attention or legrad")
        total = total + layer.weights_gradient(gradient, flow.source_tokens(layer)) / steps
    return total.clamp(min=0).mean(dim=1)[:, :, -flow.patches :]  # the mean over heads


LAST = 2
"""Blocks that `legrad` averages by default: the last ones, as its authors' code has it."""


def last_blocks(network: Network) -> int:
    """Where `legrad` starts by default: at the first of the last blocks."""
    return max(len(token_blocks(network)) - LAST, 0)


def legrad(network: Network, pixels: Tensor, *, target: Target = None, start: int | None = None) -> Maps:
    """Maps (batch, rows, columns) of LeGrad (Bousselham et al. 2024): at least 0, no upper bound.

    The mean over blocks from `start` on, by default the last two, heads and queries of (∂s_l/∂A_l)⁺, where s_l is the
    class's logit that the network's own head gives for the mean token behind block l, and A_l that block's attention.
    Nothing before block `start` is differentiated. Where the head reads through attention of its own (a pooling, class
    attention), s_l is what it makes of the tokens behind block l, and the gradient is that of its attention: the
    paper's idea for such heads, but not to the number what the authors' code gives for SigLIP.
    """
    layer_count(network)
    blocks = token_blocks(network)
    start = last_blocks(network) if start is None else start
    indices("block to start from", start, len(blocks))
    read = _by_reader if network.anatomy.readers and network.anatomy.reads != "patches" else _by_mean_token
    with gradients_on():
        values, targets = read(network, pixels, target, blocks[start:])
    flow = Flow(network, pixels)
    return as_maps(flow.folded(values[:, -flow.patches :]), targets)


Read = tuple[Tensor, tuple[Target, ...]]


def _by_mean_token(network: Network, pixels: Tensor, target: Target, blocks: tuple[str, ...]) -> Read:
    """Each block on its own: its input is cut from the graph, its output read by the network's head."""
    outputs: dict[str, Tensor] = {}

    def separate(hooks: list[Any]) -> None:
        """Each block is cut from the graph before it, so that nothing before it is differentiated."""
        nonlocal outputs
        for path in blocks:
            hooks.append(network.module.get_submodule(path).register_forward_pre_hook(cut, with_kwargs=True))
        outputs = watch(network, hooks, blocks)

    def cut(part: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return tuple(map(detached, args)), {name: detached(each) for name, each in kwargs.items()}

    def mean_token(tokens: Tensor) -> Tensor:
        """All tokens replaced by their mean, as the block gives them; no more of them than a head needs to read."""
        if tokens.ndim == 4:  # (batch, rows, columns, width)
            return tokens.mean(dim=(1, 2), keepdim=True).expand_as(tokens)
        return tokens.mean(dim=1, keepdim=True).expand(-1, network.anatomy.prefix + 1, -1)

    count = layer_count(network)
    first = next(layer for layer in range(count) if network.anatomy.block_of(layer) in blocks)
    layers, logits = collect(network, pixels, first, gradients=True, also=separate)
    targets = resolve(logits, target)
    tokens = torch.cat([mean_token(outputs[path]) for path in blocks])  # (blocks · batch, prefix + 1, width)
    score = _read_again(network, pixels, tokens, targets * len(blocks))
    layers = [layer for layer in layers if network.anatomy.block_of(layer.layer) in blocks]
    gradients = gradients_of(score, [layer.handle for layer in layers])
    flow = Flow(network, pixels)
    each = [_more_attention(flow, layer, gradient) for layer, gradient in zip(layers, gradients, strict=True)]
    return torch.stack(each).mean(dim=0), targets


def _read_again(network: Network, pixels: Tensor, tokens: Tensor, targets: Sequence[Target]) -> Tensor:
    """The sum of the scores that the network's own head gives for tokens behind its last block."""
    with network.borrow(frozen=True):
        return scores(resume(network, pixels, tokens, len(token_blocks(network))), targets).sum()


def _more_attention(flow: Flow, layer: LayerAttention, gradient: Tensor) -> Tensor:
    """(batch, tokens): what more attention to each token would add, the mean over heads and queries."""
    with torch.no_grad():
        mean = layer.weights_gradient(gradient).clamp_(min=0).mean(dim=(1, 2))
    windows = Windows.of(*flow.grid, len(mean) // flow.batch, mean.shape[1], flow.network.anatomy.prefix)
    return mean if windows is None else windows.join(mean)


def _by_reader(network: Network, pixels: Tensor, target: Target, blocks: tuple[str, ...]) -> Read:
    """The gradient of the attention with which the head reads, for the tokens behind each block."""
    with network.borrow() as hooks, torch.no_grad():
        outputs = watch(network, hooks, blocks)
        targets = resolve(network.forward(pixels), target)
    layers: list[LayerAttention] = []
    count = layer_count(network)
    with recording(network, range(count - network.anatomy.readers, count), layers.append, gradients=True, frozen=True):
        tokens = torch.cat([outputs[path] for path in blocks])  # (blocks · batch, tokens, width)
        score = _read_again(network, pixels, tokens, targets * len(blocks))
    gradients = gradients_of(score, [layer.handle for layer in layers])
    patches = Flow(network, pixels).patches
    each = [
        layer.weights_gradient(gradient).clamp(min=0).mean(dim=(1, 2))[:, -patches:]
        for layer, gradient in zip(layers, gradients, strict=True)
    ]  # each (blocks · batch, patches)
    return torch.stack(each).mean(dim=0).unflatten(0, (len(blocks), -1)).mean(dim=0), targets
