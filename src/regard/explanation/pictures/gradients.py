"""Methods by the gradient of the class: at the tokens of a layer, or at the pixels."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps, cells, completeness_of, summed
from regard.explanation.pictures.targets import as_pairs, resolve, scorer, scores
from regard.networks.anatomy.feature_maps import FeatureRecorder, grid_of_features
from regard.networks.attention.replay import resume, token_blocks
from regard.networks.attention.trace import GIVE_GRID, indices
from regard.networks.attention.windows import Windows
from regard.networks.guard import replaced_forwards
from regard.networks.network import Network

PREFIX = 8
"""Tokens beyond the patches, at the most, where nothing else is known of them."""


@contextmanager
def gradients_on() -> Iterator[None]:
    """Gradients are recorded inside, whatever the caller had switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def gradients_of(
    score: Tensor, tensors: Sequence[Tensor], allow_unused: bool = False, retain: bool = False
) -> tuple[Tensor, ...]:
    """∂score/∂tensor for each of some tensors (None for one that the score does not depend on, if `allow_unused`).

    Raises `NetworkError` for a network that cuts gradients off somewhere inside.
    """
    if not score.requires_grad:
        raise NetworkError(
            "gradients do not get through this network: it computes a part of itself without them (as in "
            "torch.no_grad); use attention, rollout or occlusion"
        )
    return torch.autograd.grad(score, tensors, allow_unused=allow_unused, retain_graph=retain)


def gradcam(network: Network, pixels: Tensor, *, layer: int | None = None, target: Target = None) -> Maps:
    """Maps (batch, rows, columns) of Grad-CAM on tokens: at least 0, no upper bound.

    (Σ_c w_c a_c)⁺ over features c of the patches, with w_c the mean of ∂y/∂a_c over them (Selvaraju et al. 2017, eq. 1
    and 2). a is what the attention of `layer`, by default the last block's, gets: the normed tokens, since behind the
    last attention patches no longer reach CLS. In a network without attention, a is its last map of features. Nothing
    before the layer is differentiated.
    """
    if not network.anatomy.attentions:
        return _gradcam_of_features(network, pixels, target)
    blocks = len(network.anatomy.attentions) - network.anatomy.readers
    (chosen,) = indices("layer", blocks - 1 if layer is None else layer, blocks)
    network.check(pixels)
    at_layer = _at_class_token(network, pixels, chosen, target) or _at_layer(network, pixels, chosen, target)
    tokens, gradient, targets = at_layer
    return as_maps(_weighted(network, pixels, tokens.detach(), gradient), targets)


LayerGradient = tuple[Tensor, Tensor, tuple[Target, ...]]


def _at_layer(network: Network, pixels: Tensor, layer: int, target: Target) -> LayerGradient:
    """What a layer's attention gets, the gradient there, and the class of each picture."""
    attention = network.module.get_submodule(network.anatomy.attentions[layer])
    inputs: list[Tensor] = []
    # no_grad until the layer, which turns gradients on: nothing before it costs a graph
    with gradients_on(), network.borrow(frozen=True) as hooks, torch.no_grad():
        hooks.append(attention.register_forward_pre_hook(_start_gradients(inputs), with_kwargs=True))
        logits = network.forward(pixels)
        torch.set_grad_enabled(True)
        targets = resolve(logits, target)
        (gradient,) = gradients_of(scores(logits, targets).sum(), inputs)
    return inputs[0], gradient, targets


def _start_gradients(inputs: list[Tensor]) -> Callable[..., Any]:
    """A hook with which gradients begin at what a module gets, which is put into `inputs`.

    From there on a network in bfloat16 computes in float32: maps of sums that nearly cancel would not hold else.
    """

    def hook(part: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        torch.set_grad_enabled(True)
        first = args[0] if args else kwargs["hidden_states"]
        tokens = first.detach()
        if torch.is_autocast_enabled(tokens.device.type):
            torch.set_autocast_enabled(tokens.device.type, False)  # until the forward, which turned it on, is done
            tokens = tokens.float()
        tokens.requires_grad_()
        inputs.append(tokens)
        swapped = tuple(tokens if each is first else each for each in args)  # torch's own takes it three times
        return swapped, {name: tokens if each is first else each for name, each in kwargs.items()}

    return hook


def _at_class_token(network: Network, pixels: Tensor, layer: int, target: Target) -> LayerGradient | None:
    """The same for the last block of a network that reads its class token alone, at half the price.

    Behind that attention no other token matters, so the rest of the block and the head are differentiated for the
    prefix tokens only: the block runs once more on them, with the attention that they got. None where a network is not
    like that, which shows in its logits: the head may read patches as well, or a block do something of its own.
    """
    anatomy = network.anatomy
    blocks = token_blocks(network)
    path = anatomy.attentions[layer]
    if anatomy.reads != "cls" or not blocks or not path.startswith(f"{blocks[-1]}."):
        return None
    inputs: list[Tensor] = []
    record: dict[str, Any] = {}  # the block's arguments, and what its attention gave
    with gradients_on(), network.borrow(frozen=True) as hooks, torch.no_grad():
        attention = network.module.get_submodule(path)
        block = network.module.get_submodule(blocks[-1])

        def store_call(part: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            record["call"] = (args, kwargs)

        def stop_gradients(part: Any, args: Any, output: Any) -> Any:
            torch.set_grad_enabled(False)  # the rest is computed again, for fewer tokens
            record["output"] = output
            return tuple(map(detached, output)) if isinstance(output, tuple) else detached(output)

        first_pass = [
            attention.register_forward_pre_hook(_start_gradients(inputs), with_kwargs=True),
            attention.register_forward_hook(stop_gradients),
            block.register_forward_pre_hook(store_call, with_kwargs=True),
        ]
        hooks.extend(first_pass)
        logits = network.forward(pixels)
        for hook in first_pass:
            hook.remove()
        torch.set_grad_enabled(True)
        tokens = _prefix_through(block, attention, record, anatomy.prefix)
        precise = replace(network, precision="float32")
        shorter = None if tokens is None else resume(precise, pixels, tokens, len(blocks))
        if shorter is None or not torch.allclose(shorter, logits.to(shorter), 1e-3, 1e-3 * float(logits.abs().max())):
            return None
        targets = resolve(logits, target)
        (gradient,) = gradients_of(scores(shorter, targets).sum(), inputs)
    return inputs[0], gradient, targets


def detached(value: Any) -> Any:
    """A tensor without the graph behind it; anything else as it is."""
    return value.detach() if isinstance(value, Tensor) else value


def _prefix_through(block: nn.Module, attention: nn.Module, record: dict[str, Any], prefix: int) -> Tensor | None:
    """(batch, prefix, width): the prefix tokens behind a block, from the attention that they got."""
    args, kwargs = record["call"]
    x = args[0] if args else kwargs.get("hidden_states")
    output = record["output"]
    attended = output[0] if isinstance(output, tuple) else output  # (batch, tokens, width)
    if not isinstance(x, Tensor) or x.ndim != 3 or attended.shape != x.shape or not prefix:
        return None
    short = attended[:, :prefix]
    answer = (short, *output[1:]) if isinstance(output, tuple) else short
    args = (x[:, :prefix], *args[1:]) if args else args
    kwargs = kwargs if args else {**kwargs, "hidden_states": x[:, :prefix]}
    with replaced_forwards(attention, {"": lambda *args, **kwargs: answer}):
        tokens = block(*args, **kwargs)
    return tokens[0] if isinstance(tokens, tuple) else tokens


def _weighted(network: Network, pixels: Tensor, tokens: Tensor, gradient: Tensor) -> Tensor:
    """(batch, rows, columns): tokens (batch, tokens, width), or (..., rows, columns, width), by their mean gradient."""
    rows, columns = cells(network, pixels)
    tokens, gradient = (each.flatten(1, 2) if each.ndim == 4 else each for each in (tokens, gradient))
    windows = Windows.of(rows, columns, len(tokens) // len(pixels), tokens.shape[1], network.anatomy.prefix)
    if windows is not None:
        tokens = windows.join(tokens)
        gradient = windows.join(gradient)
    if len(tokens) != len(pixels) or tokens.shape[1] < rows * columns:
        raise NetworkError(f"this layer of {network.name} attends in windows; choose one that sees the whole picture")
    patches = tokens[:, -rows * columns :]
    slopes = gradient[:, -rows * columns :]
    values = (patches * slopes.mean(dim=1, keepdim=True)).sum(dim=-1).clamp(min=0)  # (batch, patches)
    return values.unflatten(1, (rows, columns))


def _gradcam_of_features(network: Network, pixels: Tensor, target: Target) -> Maps:
    """The same for the last map of features that the network makes, whose grid becomes the map's; or, where the grid of
    patches is known, for the last tokens of that many patches on which the class depends."""
    height, width = map(int, pixels.shape[-2:])
    network.check(pixels)
    known = network.anatomy.patch is not None
    place = None if known else grid_of_features(network, height, width)
    if place is None and not known:
        raise NetworkError(
            f"{network.name} ({type(network.module).__name__}) makes no map of features that lies over the picture; "
            f"{GIVE_GRID}, or use input_x_gradient or occlusion"
        )
    with gradients_on(), network.borrow(frozen=True) as hooks:
        recorder = FeatureRecorder(network, hooks, len(pixels))
        logits = network.forward(pixels.detach().clone().requires_grad_())
        targets = resolve(logits, target)
        score = scores(logits, targets).sum()
        if place is not None:
            features = recorder.outputs[place[0]]
            (gradient,) = gradients_of(score, [features])
        else:
            features, gradient = _last_tokens(network, pixels, score, recorder.tokens)
    values = features.detach()
    if place is None:
        return as_maps(_weighted(network, pixels, values, gradient), targets)
    if place[1]:
        values = values.movedim(3, 1)
        gradient = gradient.movedim(3, 1)
    return as_maps((values * gradient.mean(dim=(2, 3), keepdim=True)).sum(dim=1).clamp(min=0), targets)


def _last_tokens(network: Network, pixels: Tensor, score: Tensor, tokens: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The last tokens (batch, tokens, width) of the grid's patches on which the score depends, and its gradient."""
    rows, columns = cells(network, pixels)
    last = None
    for each in reversed(tokens):
        beyond = each.shape[1] - rows * columns
        if not 0 <= beyond <= PREFIX or not each.requires_grad:
            continue
        (gradient,) = gradients_of(score, [each], allow_unused=True, retain=True)  # for the tokens before
        if gradient is not None and gradient[:, beyond:].any():
            return each, gradient
        last = last or (each, torch.zeros_like(each))
    if last is not None:  # nothing counts, as in a head of zeros: a map of zeros, which is said
        return last
    raise NetworkError(
        f"{network.name} has no tokens of {rows} × {columns} patches on which the class depends; give another grid, or "
        "use input_x_gradient or occlusion"
    )


def input_x_gradient(network: Network, pixels: Tensor, *, target: Target = None) -> Maps:
    """Maps (batch, rows, columns) of x · ∂y/∂x, summed over colours and the pixels of each cell; they have a sign.

    Shrikumar et al. 2016, section 3. x are normalised values, so that 0 is the network's mean colour.
    """
    network.check(pixels)
    with gradients_on(), network.borrow(frozen=True):
        x = pixels.detach().clone().requires_grad_()
        logits = network.forward(x)
        targets = resolve(logits, target)
        (gradient,) = gradients_of(scores(logits, targets).sum(), [x])
    return as_maps(summed(network, pixels * gradient), targets)


def integrated_gradients(network: Network, pixels: Tensor, *, target: Target = None, steps: int = 32) -> Maps:
    """Maps (batch, rows, columns) of integrated gradients, summed over colours and cells; they have a sign.

    (x - x₀) · ∫ ∂y/∂x along the straight way from x₀ (Sundararajan et al. 2017, eq. 1), the network's mean colour, by
    captum's Gauss-Legendre rule with `steps` nodes. A map sums to y(x) - y(x₀) as well as the rule can, and its
    `completeness` says how well that is: with 32 steps it is off by some hundredths on trained networks.
    """
    from captum.attr import IntegratedGradients

    network.check(pixels)
    with gradients_on(), network.borrow(frozen=True):
        targets = resolve(network.forward(pixels), target)
        attributions = IntegratedGradients(scorer(network)).attribute(
            pixels.detach().clone(),
            additional_forward_args=(torch.tensor(as_pairs(targets), device=pixels.device),),
            n_steps=steps,
            internal_batch_size=max(8, len(pixels)),
        )
        with torch.no_grad():
            ends = [scores(network.forward(each), targets) for each in (pixels, torch.zeros_like(pixels))]
    values = summed(network, attributions)
    return as_maps(values, targets, completeness=completeness_of(values, *ends))
