"""Hearing attention as it is computed: the queries, keys and values of each layer, whatever class they come from.

Networks hand them to one of two functions of torch: fused attention (`scaled_dot_product_attention`) or torch's own
multi-head attention. A `TorchFunctionMode`, active in this thread and inside attention modules alone, sees these
calls; nothing of torch or of the network is patched. So fused attention stays on, normed, rotated or biased queries and
keys are heard as they are, and a class nobody has heard of is read as well as a known one. The few that write attention
out give their weights by a hook (`WRITTEN`), and those that attend more than once a layer are in `JOINED`.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from regard.errors import NetworkError
from regard.networks.anatomy.anatomy import kind_of

WRITTEN = {
    "timm.models.cait.TalkingHeadAttn": ("attn_drop", "qkv"),
    "transformers.models.data2vec.modeling_data2vec_vision.Data2VecVisionSelfAttention": ("dropout", "value"),
}
"""Classes that write attention out: the part of them whose input are the weights, and the one that gives the values
(last)."""


@dataclass
class Call:
    """One call of fused attention: q (batch, heads, queries, d), k and v (batch, heads, keys, d), `bias` broadcastable
    to (batch, heads, queries, keys) or None, and `out` as it was handed on, (batch, heads, queries, d) or, in modules
    that put heads into the batch, (batch · heads, queries, d)."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Tensor | None
    scale: float
    out: Tensor

    def weights(self, rows: Tensor | None = None, heads: Tensor | None = None) -> Tensor:
        """(batch, heads, rows, keys): softmax(q kᵀ · scale + bias) of some queries and heads, by default all.

        Vaswani et al. 2017 (arXiv 1706.03762), eq. 1. Half precision is widened before the softmax, as fused
        attention does inside.
        """
        q, k, bias = self.q, self.k, self.bias
        if bias is not None:
            bias = bias.expand(*q.shape[:-1], k.shape[-2])
            bias = bias if heads is None else bias[:, heads]
            bias = bias if rows is None else bias[:, :, rows]
        q, k = (q, k) if heads is None else (q[:, heads], k[:, heads])
        q = q if rows is None else q[:, :, rows]
        scores = _products(precise(q) * self.scale, precise(k))
        return (scores if bias is None else scores.add_(bias)).softmax(dim=-1)


def _products(q: Tensor, k: Tensor) -> Tensor:
    """q kᵀ (batch, heads, queries, keys); a few queries picture by picture, as keys would be copied to be joined."""
    if q.shape[-2] > FEW or len(q) == 1:
        return q @ k.transpose(-2, -1)
    return torch.stack([each @ keys.transpose(-2, -1) for each, keys in zip(q, k, strict=True)])


FEW = 4
"""Up to so many queries a copy of all keys costs more than what is computed with them."""


def precise(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@dataclass
class Heard:
    """The attention of one layer in one forward: `calls`, or, where it is written out, `written` (B, heads, N, N).

    `project` (width, heads · d) is the weight that its output goes through next.
    """

    layer: int
    module: nn.Module
    calls: list[Call] = field(default_factory=list)
    written: Tensor | None = None
    values: Tensor | None = None
    project: Tensor | None = None

    @property
    def heads(self) -> int:
        return int(self.written.shape[1] if self.written is not None else self.calls[0].q.shape[1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batch, queries, keys); in windowed attention the batch is that of all windows."""
        if self.written is not None:
            return self.written.shape[0], self.written.shape[2], self.written.shape[3]
        call = self.calls[0]
        return call.q.shape[0], call.q.shape[2], call.k.shape[2]

    def weights(self, rows: Tensor | None = None, heads: Tensor | None = None) -> Tensor:
        """(batch, heads, rows, keys): what each query takes of each key's value; rows sum to one but for `JOINED`."""
        if self.written is not None:
            found = self.written if heads is None else self.written[:, heads]
            return precise(found if rows is None else found[:, :, rows])
        with torch.autocast(self.calls[0].q.device.type, enabled=False):
            weights = [call.weights(rows, heads) for call in self.calls]
        shares = self.shares()
        return weights[0] if len(weights) == 1 else sum(a * b for a, b in zip(shares, weights, strict=True))

    def shares(self) -> Sequence[Any]:
        """What each call counts in the layer's attention."""
        return [1.0] if len(self.calls) < 2 else JOINED[kind_of(self.module)](self.module)

    @property
    def value(self) -> Tensor:
        """(batch, heads, keys, d): what attention adds up."""
        if self.values is None or self.project is None:
            return self.calls[0].v
        own = self.values[..., -self.project.shape[1] :]  # the last third, where queries and keys come with them
        return own.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    @property
    def handle(self) -> Tensor:
        """The tensor whose gradient `weights_gradient` takes: the attention's output, or the written-out weights."""
        return self.written if self.written is not None else self.calls[0].out

    def weights_gradient(self, gradient: Tensor, rows: Tensor | None = None) -> Tensor:
        """∂y/∂A (batch, heads, rows, keys) from ∂y/∂`handle`: as the output is A v, it is ∂y/∂out · vᵀ."""
        gradient = _four(gradient, self.heads)
        gradient = gradient if rows is None else gradient[:, :, rows]
        if self.written is not None:
            return gradient
        return precise(gradient) @ precise(self.value).transpose(-2, -1)


def _differential(module: Any) -> Sequence[Any]:
    """Differential attention (arXiv 2410.05258): A₁ - λ A₂."""
    return [1.0, -float(module._compute_lambda())]


JOINED: dict[str, Callable[[Any], Sequence[Any]]] = {
    "timm.layers.diff_attention.DiffAttention": _differential,
    "timm.models.vision_transformer.DiffParallelScalingBlock": _differential,
}
"""Classes that attend more than once a layer, and what each time counts."""


class Ear(TorchFunctionMode):
    """Hears what is attended inside the modules it is told of, once it is attached to them.

    It is a mode from the moment such a module begins until it is done, as every call of torch costs a little inside.
    `modules` are (layer, module); `on_heard` is called once a layer with what was heard, when the module is done.
    `begin`: gradients begin at the outputs of the heard attention where nothing before them asks for one.
    """

    def __init__(
        self, modules: Sequence[tuple[int, nn.Module]], on_heard: Callable[[Heard], None], begin: bool = False
    ) -> None:
        super().__init__()
        self.modules, self.on_heard, self.begin = modules, on_heard, begin
        self.now: Heard | None = None

    def attach(self, hooks: list[Any]) -> None:
        """Hook the modules; the guard that lent `hooks` removes them."""
        for layer, module in self.modules:
            hooks.append(module.register_forward_pre_hook(self._enter(layer)))
            hooks.append(module.register_forward_hook(self._leave))
            if kind_of(module) in WRITTEN:
                weights, values = map(module.get_submodule, WRITTEN[kind_of(module)])
                hooks.append(weights.register_forward_pre_hook(self._written))
                hooks.append(values.register_forward_hook(self._values))

    def _enter(self, layer: int) -> Callable[..., None]:
        def enter(module: nn.Module, inputs: Any) -> None:
            self.now = Heard(layer, module)
            self.__enter__()

        return enter

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        heard = self.now
        self.close()
        if heard is None or (not heard.calls and heard.written is None):
            raise NetworkError(f"{type(module).__name__} attends in a way of its own that regard cannot read")
        if len(heard.calls) > 1 and kind_of(module) not in JOINED:
            raise NetworkError(
                f"{type(module).__name__} attends {len(heard.calls)} times in a layer; regard reads once"
            )
        self.on_heard(heard)

    def close(self) -> None:
        """Stop hearing, after an exception in the middle of a module too."""
        if self.now is not None:
            self.now = None
            self.__exit__(None, None, None)

    def _written(self, part: nn.Module, inputs: Any) -> None:
        if self.now is not None:
            weights = inputs[0]
            if self.begin and not weights.requires_grad and torch.is_grad_enabled():
                weights.requires_grad_()
            self.now.written = weights

    def _values(self, part: nn.Module, inputs: Any, output: Tensor) -> None:
        if self.now is not None:
            self.now.values = output

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.now is not None:
            if function is _FUSED:
                return self._attend(*args, **kwargs)
            if function is _MULTI_HEAD:
                return self._multi_head(*args, **kwargs)
            if function is _LINEAR and self.now.project is None and (self.now.calls or self.now.written is not None):
                self.now.project = args[1] if len(args) > 1 else kwargs["weight"]
        return function(*args, **kwargs)

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
        out = _FUSED(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        if self.begin and not out.requires_grad and torch.is_grad_enabled():
            out.requires_grad_()
        heads = self._heads(query)
        q, k, v, bias = (_four(x, heads) for x in (query, key, value, attn_mask))
        if k.shape[1] != q.shape[1]:  # grouped queries share keys and values
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
        bias = _causal(q, k) if is_causal else _additive(bias, q)
        scale = scale or 1 / math.sqrt(query.shape[-1])
        if self.now is not None:
            self.now.calls.append(Call(q, k, v, bias, scale, out))
        return out

    def _heads(self, query: Tensor) -> int:
        """How many heads lie in the batch's dimension, where a module puts them there (SAM's)."""
        return int(getattr(self.now and self.now.module, "num_heads", 1)) if query.ndim == 3 else 1

    def _multi_head(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """torch's multi-head attention, projections and all, with its attention heard.

        It projects inside one function, so the steps are made here: F.multi_head_attention_forward's own for the
        arguments that vision transformers give.
        """
        given = _SIGNATURE.bind(*args, **kwargs)
        given.apply_defaults()
        a = given.arguments
        if a["bias_k"] is not None or a["add_zero_attn"] or a["static_k"] is not None or a["query"].ndim != 3:
            raise NetworkError("multi-head attention with added keys is not known to regard; it reads plain attention")
        q, k, v = _projected(a)  # each (tokens, batch, width)
        heads, (length, batch, width) = a["num_heads"], q.shape
        q, k, v = (x.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for x in (q, k, v))
        mask = a["attn_mask"]
        if mask is not None and mask.ndim == 3:
            mask = mask.unflatten(0, (batch, heads))
        if a["key_padding_mask"] is not None:
            raise NetworkError("pictures with padding are not known to regard here; give them one by one")
        mask = ~mask if mask is not None and mask.dtype == torch.bool else mask
        out = self._attend(q, k, v, mask)
        joined = out.permute(2, 0, 1, 3).reshape(length, batch, width)
        result = F.linear(joined, a["out_proj_weight"], a["out_proj_bias"])
        if self.now is not None:
            self.now.project = a["out_proj_weight"]
        weights = self.now.calls[-1].weights() if a["need_weights"] and self.now is not None else None
        return result, weights if weights is None or not a["average_attn_weights"] else weights.mean(1)


_FUSED, _MULTI_HEAD, _LINEAR = F.scaled_dot_product_attention, F.multi_head_attention_forward, F.linear
_SIGNATURE = inspect.signature(_MULTI_HEAD)


def _projected(a: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values as multi-head attention projects them."""
    query, key, value, width = a["query"], a["key"], a["value"], a["embed_dim_to_check"]
    bias = a["in_proj_bias"]
    biases = (None, None, None) if bias is None else bias.split(width)
    if a["use_separate_proj_weight"]:
        weights = (a["q_proj_weight"], a["k_proj_weight"], a["v_proj_weight"])
    elif query is key and key is value:
        q, k, v = F.linear(query, a["in_proj_weight"], bias).chunk(3, dim=-1)
        return q, k, v
    else:
        weights = a["in_proj_weight"].split(width)
    q, k, v = (F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    return q, k, v


def _four(x: Any, heads: int) -> Any:
    """(batch · heads, tokens, d) → (batch, heads, tokens, d); what has four dimensions already stays."""
    return x.unflatten(0, (-1, heads)) if isinstance(x, Tensor) and x.ndim == 3 else x


def _additive(mask: Tensor | None, q: Tensor) -> Tensor | None:
    """A mask of what may be seen as what is added to the scores; other masks are that already."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, device=q.device).masked_fill_(~mask, float("-inf"))
    return precise(mask)


def _causal(q: Tensor, k: Tensor) -> Tensor:
    seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    return torch.zeros(seen.shape, device=q.device).masked_fill_(~seen, float("-inf"))
