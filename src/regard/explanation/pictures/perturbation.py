"""Methods that change something of the picture or inside the network, and measure the change of the class's logit."""

import torch
from torch import Tensor

from regard.errors import NetworkError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps, cells
from regard.explanation.pictures.targets import as_pairs, resolve, scorer, scores
from regard.networks.attention.replay import Edit, resume, token_blocks, watch
from regard.networks.attention.trace import indices
from regard.networks.network import Network

CHUNK = 32
"""Changed pictures that go through the network at once."""


def occlusion(network: Network, pixels: Tensor, *, target: Target = None) -> Maps:
    """Maps (batch, rows, columns) of y(x) - y(x with the cell grey): they have a sign, in logits.

    Zeiler and Fergus 2014, section 4.2, one cell at a time, by captum. Grey is the network's mean colour.
    """
    from captum.attr import Occlusion

    network.check(pixels)
    rows, columns = cells(network, pixels)
    tall = -(-pixels.shape[2] // rows)
    wide = -(-pixels.shape[3] // columns)
    with network.borrow(), torch.no_grad():
        targets = resolve(network.forward(pixels), target)
        effects = Occlusion(scorer(network)).attribute(
            pixels,
            sliding_window_shapes=(pixels.shape[1], tall, wide),
            strides=(pixels.shape[1], tall, wide),
            additional_forward_args=(torch.tensor(as_pairs(targets), device=pixels.device),),
            perturbations_per_eval=max(1, CHUNK // len(pixels)),
        )
    down = torch.arange(rows) * tall
    across = torch.arange(columns) * wide
    return as_maps(effects[:, 0][:, down][:, :, across], targets)  # each pixel of a cell has the cell's value


def middle_third(network: Network) -> int:
    """Where `activation_patching` starts by default."""
    return len(token_blocks(network)) // 3


def activation_patching(network: Network, pixels: Tensor, *, target: Target = None, start: int | None = None) -> Maps:
    """Maps (batch, rows, columns) of y(grey picture with this patch's activations) - y(grey picture), in logits.

    After CAAP (arXiv 2603.13652): the picture's own activations of one patch replace those of a grey picture behind
    each block of the middle third (from `start` on, as many blocks as that is), while all other tokens go their way.
    The abstract is what could be read; that the middle is the middle third, and neutral the mean colour, is ours.
    """
    blocks = token_blocks(network)
    if not blocks:
        raise NetworkError(f"{network.name} has no blocks of tokens that regard knows; use occlusion")
    depth = len(blocks)
    (first,) = indices("block to start from", middle_third(network) if start is None else start, depth)
    middle = blocks[first : first + max(1, depth - 2 * (depth // 3))]
    grey = torch.zeros_like(pixels[:1])
    network.check(pixels)
    with network.borrow() as hooks, torch.no_grad():
        outputs = watch(network, hooks, middle)
        targets = resolve(network.forward(pixels), target)
        source = dict(outputs)  # the next forward fills `outputs` anew
        entry = watch(network, hooks, blocks[first : first + 1], before=True)
        neutral = network.forward(grey)
        before = entry[blocks[first]]
        patched = [
            _patched_logits(network, grey, before, first, {path: source[path][index] for path in middle})
            for index in range(len(pixels))
        ]  # each (patches, classes)
    rows, columns = cells(network, pixels)
    effects = [
        scores(logits, [each] * len(logits)) - scores(neutral, [each])
        for logits, each in zip(patched, targets, strict=True)
    ]
    return as_maps(torch.stack(effects).unflatten(1, (rows, columns)), targets)


def _patched_logits(network: Network, grey: Tensor, before: Tensor, first: int, source: dict[str, Tensor]) -> Tensor:
    """(patches, classes): the logits of the grey picture with each patch's activations (tokens, width) by block."""
    rows, columns = cells(network, grey)
    logits = []
    for start in range(0, rows * columns, CHUNK):
        patches = torch.arange(start, min(start + CHUNK, rows * columns), device=grey.device)
        tokens = before.expand(len(patches), *before.shape[1:])
        edits = {path: _with_patches(values, patches, rows * columns) for path, values in source.items()}
        logits.append(resume(network, grey, tokens, first, edits))
    return torch.cat(logits)


def _with_patches(values: Tensor, patches: Tensor, count: int) -> Edit:
    """An edit after which the i-th of a batch has patch `patches[i]` of `values`."""
    flat = values.flatten(0, -2)  # (tokens, width); SAM has (rows, columns, width)
    places = patches + len(flat) - count

    def edit(tokens: Tensor) -> Tensor:
        changed = tokens.clone()
        changed.flatten(1, -2)[torch.arange(len(places)), places] = flat[places]
        return changed

    return edit
