"""LibraGrad: a backward pass in which products are shared out, so that its parts sum to the logit.

The forward is the network's own. In the backward, attention weights and the deviations inside norms are constants,
x · gate(x) is linear in x, and of a product of two each takes half (Mehri et al. 2024, arXiv 2411.16760, section 3.5).
So tokens times gradients and biases times gradients, together, are the logit (FG-completeness, definition 1).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from regard.errors import NetworkError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps, cells, completeness_of
from regard.explanation.pictures.gradients import gradients_of, gradients_on
from regard.explanation.pictures.targets import resolve, scores
from regard.networks.attention.recorder import AttentionCall
from regard.networks.attention.replay import token_blocks
from regard.networks.attention.trace import layer_count, recording
from regard.networks.attention.windows import Windows
from regard.networks.network import Network

INCOMPLETE = 1e-2
"""A remainder larger than this share of the parts means that the network does something there is no rule for."""


def libra_fullgrad(network: Network, pixels: Tensor, *, target: Target = None) -> Maps:
    """Maps (batch, rows, columns) of FullGrad under LibraGrad's rules, in logits; they have a sign.

    A patch's value is token · gradient where the first block gets it, plus bias · gradient of every layer behind, at
    that patch. With those of CLS, of other prefix tokens and of layers behind the pooling, which no patch can be given,
    the values sum to the logit: `completeness` has these two shares and the sum. Raises `NetworkError` where the parts
    do not sum to it, so that a map is never quietly wrong.
    """
    return _maps(network, pixels, target, plus=False)


def libra_fullgrad_plus(network: Network, pixels: Tensor, *, target: Target = None) -> Maps:
    """Maps (batch, rows, columns) of FullGrad+ under LibraGrad's rules; they have a sign and sum to nothing.

    Token · gradient where each block gets it, summed over all blocks, plus each bias · gradient once.
    """
    return _maps(network, pixels, target, plus=True)


def _maps(network: Network, pixels: Tensor, target: Target, plus: bool) -> Maps:
    parts, targets = fullgrad(network, pixels, target)
    rows, columns = parts.grid
    patches = rows * columns
    tokens = sum(parts.tokens) if plus else parts.tokens[0]
    whole = tokens[:, -patches:] + parts.biases[:, -patches:]  # type: ignore[index]
    values = whole.unflatten(1, (rows, columns))
    if plus:
        return as_maps(values, targets)
    beside = [each[:, :-patches].cpu().double().sum(dim=1) for each in (parts.tokens[0], parts.biases)]
    prefix = sum(beside, parts.joining.cpu())
    return as_maps(values, targets, completeness=completeness_of(values, parts.logits, 0.0, prefix, parts.rest))


class Parts:
    """What `logits` (batch,) are made of: `tokens`, one (batch, tokens) a block; `biases` (batch, tokens) and, at no
    token, `rest` (batch,); `joining` (batch,) is of tokens that join behind these blocks."""

    def __init__(self, batch: int, tokens: int, grid: tuple[int, int], like: Tensor) -> None:
        self.tokens: list[Tensor] = []
        self.grid = grid
        self.biases = torch.zeros(batch, tokens, device=like.device, dtype=like.dtype)
        self.rest = torch.zeros(batch, device=like.device, dtype=like.dtype)
        self.joining = torch.zeros_like(self.rest)
        self.logits = torch.zeros_like(self.rest)

    def total(self) -> Tensor:
        """(batch,): the sum of the complete parts, which is the logit."""
        return self.tokens[0].sum(dim=1) + self.biases.sum(dim=1) + self.rest + self.joining

    def add(self, gradient: Tensor, bias: Tensor) -> None:
        """Give bias · gradient, at a layer's output (..., width), to the tokens that it stands at."""
        values = gradient.detach() @ bias.detach().to(gradient.dtype)  # (...)
        batch = len(self.rest)
        patches = self.grid[0] * self.grid[1]
        each = values.reshape(values.shape[0], -1)  # (batch or windows, tokens)
        windows = None
        if len(each) % batch == 0 and (len(each) != batch or each.shape[1] > self.biases.shape[1]):
            windows = Windows.of(*self.grid, len(each) // batch, each.shape[1])
        if windows is not None:
            joined = windows.join(each)
            self.biases[:, -patches:] += joined
            self.rest += each.reshape(batch, -1).sum(dim=1) - joined.sum(dim=1)
        elif len(each) == batch and each.shape[1] >= patches > 1 and each.shape[1] <= self.biases.shape[1]:
            self.biases[:, -each.shape[1] :] += each
        else:
            self.rest += each.reshape(batch, -1).sum(dim=1)


def fullgrad(network: Network, pixels: Tensor, target: Target = None) -> tuple[Parts, tuple[Target, ...]]:
    """All parts of each picture's logit, and its class. Raises `NetworkError` where the parts do not sum to it."""
    network.check(pixels)
    blocks = token_blocks(network)
    if not blocks:
        raise NetworkError(
            f"{network.name} has no blocks of tokens that regard knows; use input_x_gradient or occlusion"
        )
    streams: list[Tensor] = []
    constants: list[Tensor] = []
    grid = cells(network, pixels)
    with (
        gradients_on(),
        Libra() as libra,
        # recorded only so that torch's multi-head attention is made of steps that have rules
        recording(network, range(layer_count(network)), lambda layer: None, frozen=True) as hooks,
    ):
        for path in blocks:
            block = network.module.get_submodule(path)
            hooks.append(block.register_forward_pre_hook(_start_gradients(streams), with_kwargs=True))
        libra.watch(network.module, hooks)
        for path in network.anatomy.blocks[len(blocks) : len(blocks) + 1]:  # class attention adds its token now
            hooks.append(network.module.get_submodule(path).register_forward_pre_hook(_start_joining(constants)))
        logits = network.forward(pixels.detach())
        targets = resolve(logits, target)
        score = scores(logits, targets)
        tokens = streams[0].flatten(1, -2).shape[1]
        parts = Parts(len(pixels), max(tokens, grid[0] * grid[1] + 1), grid, streams[0])
        libra.parts = parts
        gradients = gradients_of(score.sum(), [*streams, *constants])
    inputs = zip([*streams, *constants], gradients, strict=True)
    each = [(x.detach() * gradient).sum(dim=-1).flatten(1) for x, gradient in inputs]  # each (batch, tokens)
    parts.tokens = each[: len(streams)]
    parts.joining += sum(token.sum(dim=1) for token in each[len(streams) :])
    parts.logits = score.detach()
    _check_complete(network, parts)
    return parts, targets


def _start_gradients(streams: list[Tensor]) -> Callable[..., Any]:
    """A hook that puts what each block gets into `streams`; at the first the gradients begin."""

    def hook(part: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        first = args[0] if args else kwargs["hidden_states"]
        x = first if streams else first.detach().requires_grad_()
        streams.append(x)
        swapped = tuple(x if each is first else each for each in args)
        return swapped, {name: x if each is first else each for name, each in kwargs.items()}

    return hook


def _start_joining(constants: list[Tensor]) -> Callable[..., Any]:
    """A hook by which a token that joins later is differentiated as well: it is a part of the logit."""

    def hook(part: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        joined = [each if each.requires_grad else each.detach().clone().requires_grad_() for each in args]
        constants.extend(new for new, old in zip(joined, args, strict=True) if new is not old)
        return tuple(joined)

    return hook


def _check_complete(network: Network, parts: Parts) -> None:
    size = parts.tokens[0].abs().sum(dim=1) + parts.biases.abs().sum(dim=1) + parts.rest.abs() + parts.joining.abs()
    share = float(((parts.total() - parts.logits).abs() / size.clamp_min(torch.finfo(size.dtype).tiny)).max())
    allowed = INCOMPLETE if parts.logits.dtype in (torch.float32, torch.float64) else 10 * INCOMPLETE
    if share > allowed:
        raise NetworkError(
            f"the parts of {network.name}'s logit do not sum to it (off by {share:.1%} of them): it does something "
            "that libra_fullgrad has no rule for; use legrad or integrated_gradients"
        )


class Libra(TorchFunctionMode):
    """The rules, for what is computed inside `with`; biases are handed to `parts` as the backward comes by them."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: Parts | None = None
        self.tokens_first = False

    def watch(self, module: nn.Module, hooks: list[Any]) -> None:
        """Know when torch's own multi-head attention runs: inside it are (tokens, batch, width)."""

        def turn(on: bool) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                self.tokens_first = on

            return hook

        for part in module.modules():
            if isinstance(part, nn.MultiheadAttention):
                hooks.append(part.register_forward_pre_hook(turn(True)))
                hooks.append(part.register_forward_hook(turn(False)))

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = _RULES.get(function)
        if rule is None or not torch.is_grad_enabled():
            return function(*args, **(kwargs or {}))
        return rule(self, *args, **(kwargs or {}))

    def note(self, out: Tensor, bias: Tensor | None) -> Tensor:
        """`out`, whose bias is one of the parts."""
        if bias is not None and out.requires_grad:
            turned = self.tokens_first and out.ndim == 3

            def add(gradient: Tensor) -> None:
                if self.parts is not None:
                    self.parts.add(gradient.transpose(0, 1) if turned else gradient, bias)

            out.register_hook(add)
        return out


def _layer_norm(
    libra: Libra,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / its deviation as a constant, scaled and shifted; over the last dimension."""
    if len(normalized_shape) != 1 or not input.requires_grad:
        return F.layer_norm(input, list(normalized_shape), weight, bias, eps)
    return libra.note(_LibraNorm.apply(input, weight, bias, eps), bias)


class _LibraNorm(torch.autograd.Function):
    """Layer norm, fused forward; backward w ⊙ g / deviation, less its mean."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        out, _, inverse = torch.native_layer_norm(x, [x.shape[-1]], weight, bias, eps)
        context.save_for_backward(inverse, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        inverse, weight = context.saved_tensors
        scaled = (gradient if weight is None else gradient * weight) * inverse
        return scaled - scaled.mean(dim=-1, keepdim=True), None, None, None


def _rms_norm(
    libra: Libra,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / its root mean square as a constant, scaled."""
    small = torch.finfo(input.dtype).eps if eps is None else eps
    dims = tuple(range(-len(normalized_shape), 0))
    scale = (input.detach().pow(2).mean(dim=dims, keepdim=True) + small).rsqrt()
    return input * scale if weight is None else input * scale * weight


def _tanh(libra: Libra, input: Tensor) -> Tensor:
    return _Gated.apply(input, torch.tanh(input.detach()), 1.0)


class _Gated(torch.autograd.Function):
    """f(x) as x · (f(x) / x), of which the second is a constant; `limit` is f(x) / x at 0."""

    @staticmethod
    def forward(context: Any, x: Tensor, out: Tensor, limit: float) -> Tensor:
        small = x.abs() < 1e-6
        context.save_for_backward(torch.where(small, limit, out / torch.where(small, 1.0, x)))
        return out.clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (share,) = context.saved_tensors
        return gradient * share, None, None


def _constant(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A rule by which what the function gives is a constant: attention weights, gates, deviations."""

    def rule(libra: Libra, *args: Any, **kwargs: Any) -> Tensor:
        return function(*args, **kwargs).detach()

    return rule


def _product(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A rule by which each of two factors that depend on the picture takes half."""

    def rule(libra: Libra, first: Any, second: Any, **kwargs: Any) -> Tensor:
        if not (_depends(first) and _depends(second)):
            return function(first, second, **kwargs)
        return (first * second.detach() + first.detach() * second) / 2

    return rule


def _sum(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A rule by which a vector that is added to every token is a bias."""

    def rule(libra: Libra, first: Any, second: Any, **kwargs: Any) -> Tensor:
        out = function(first, second, **kwargs)
        constant = second if _depends(first) else first
        vector = isinstance(constant, Tensor) and not kwargs and constant.shape == out.shape[-1:] and out.ndim > 1
        return libra.note(out, constant if vector and not _depends(constant) else None)

    return rule


def _quotient(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A rule by which what is divided by is a constant (corollary 2)."""

    def rule(libra: Libra, first: Any, second: Any, **kwargs: Any) -> Tensor:
        return function(first, second.detach() if _depends(second) else second, **kwargs)

    return rule


def _depends(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _attend(
    libra: Libra,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    """Fused attention whose weights are constants: its backward is Aᵀ g alone, a third of the full one."""
    if value.requires_grad:
        query = query.detach()
        key = key.detach()
    if not value.requires_grad or is_causal or options.get("enable_gqa"):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **options)
    mask = attn_mask if attn_mask is None else attn_mask.detach()
    scale = options.get("scale") or 1 / math.sqrt(query.shape[-1])
    return _LibraAttention.apply(query, key, value, mask, scale)


class _LibraAttention(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        context.save_for_backward(q, k, mask)
        context.scale = scale
        return F.scaled_dot_product_attention(q, k, v, mask, scale=scale)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[None, None, Tensor, None, None]:
        q, k, mask = context.saved_tensors
        bias = mask
        if mask is not None and mask.dtype == torch.bool:
            bias = torch.zeros(mask.shape, device=q.device, dtype=q.dtype).masked_fill_(~mask, float("-inf"))
        weights = AttentionCall(q, k, q, bias, context.scale, q).weights()
        return None, None, weights.to(gradient.dtype).transpose(-2, -1) @ gradient, None, None


_RULES: Mapping[Any, Callable[..., Tensor]] = {
    F.linear: lambda libra, input, weight, bias=None: libra.note(F.linear(input, weight, bias), bias),
    F.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    F.gelu: lambda libra, input, approximate="none": _Gated.apply(
        input, F.gelu(input.detach(), approximate=approximate), 0.5
    ),
    F.silu: lambda libra, input, inplace=False: _Gated.apply(input, F.silu(input.detach()), 0.5),
    torch.tanh: _tanh,
    torch.Tensor.tanh: _tanh,
    F.scaled_dot_product_attention: _attend,
    F.normalize: lambda libra, input, p=2.0, dim=1, eps=1e-12, out=None: (
        input / input.detach().norm(p, dim, keepdim=True).clamp_min(eps)
    ),
    **{each: _constant(each) for each in (F.softmax, torch.softmax, torch.Tensor.softmax)},
    **{each: _constant(each) for each in (torch.sigmoid, torch.Tensor.sigmoid, F.sigmoid)},
    **{each: _constant(each) for each in (torch.rsqrt, torch.Tensor.rsqrt)},
    **{each: _product(each) for each in (torch.mul, torch.Tensor.mul, torch.Tensor.__mul__, torch.Tensor.__rmul__)},
    **{each: _sum(each) for each in (torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__)},
    **{each: _quotient(each) for each in (torch.div, torch.Tensor.div, torch.Tensor.__truediv__)},
}
"""What each function of torch is in the backward; all others are linear, or the check of completeness finds them."""
