"""Attention recorded as it is computed: the queries, keys and values of each layer, whatever class they come from.

Networks hand them to one of two functions of torch: fused attention (`scaled_dot_product_attention`) or torch's own
multi-head attention. A `TorchFunctionMode`, active in this thread and inside attention modules alone, sees these
calls; nothing of torch or of the network is patched. So fused attention stays on, normed, rotated or biased queries and
keys are recorded as they are, and an unknown class is read as well as a known one. The few with eager attention give
their weights by a hook (`EAGER`), and those that attend more than once a layer are in `COEFFICIENTS`.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from regard.errors import NetworkError
from regard.networks.anatomy.anatomy import kind_of

EAGER = {
    "timm.models.cait.TalkingHeadAttn": ("attn_drop", "qkv"),
    "transformers.models.data2vec.modeling_data2vec_vision.Data2VecVisionSelfAttention": ("dropout", "value"),
}
"""Classes of eager attention: the part of them whose input are the weights, and the one whose output ends in the
values."""


@dataclass
class AttentionCall:
    """One call of fused attention: q (batch, heads, queries, d), k and v (batch, heads, keys, d), `bias` broadcastable
    to (batch, heads, queries, keys) or None, and `out` as the module got it, (batch, heads, queries, d) or, in modules
    that put heads into the batch, (batch · heads, queries, d). Heads that share keys and values have them once."""

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
        q = self.q
        k = self.k
        bias = self.bias
        if bias is not None:
            bias = bias.expand(*q.shape[:-1], k.shape[-2])  # (batch, heads, queries, keys)
            bias = bias if heads is None else bias[:, heads]
            bias = bias if rows is None else bias[:, :, rows]
        if heads is not None:
            q = q[:, heads]
            k = of_each_head(k, self.q.shape[1])[:, heads]
        q = q if rows is None else q[:, :, rows]
        shape = q.shape
        if k.shape[1] != shape[1]:  # the queries of heads that share keys are multiplied together, no key is copied
            q = q.reshape(len(q), k.shape[1], -1, shape[-1])
        q = precise(q) * self.scale
        k = precise(k).transpose(-2, -1)  # (batch, heads, d, keys)
        # A product of the whole batch copies all keys to join them; for a few queries that costs more than to multiply.
        one_by_one = q.shape[-2] <= FEW and len(q) > 1
        scores = torch.stack([a @ b for a, b in zip(q, k, strict=True)]) if one_by_one else q @ k
        scores = scores.view(*shape[:-1], -1)  # (batch, heads, rows, keys)
        return (scores if bias is None else scores.add_(bias)).softmax(dim=-1)


FEW = 4
"""Queries of a picture up to which pictures are multiplied one by one."""


def of_each_head(x: Tensor, heads: int) -> Tensor:
    """Keys or values (batch, heads or groups of them, tokens, d) → (batch, heads, tokens, d)."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)


def precise(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@dataclass
class LayerAttention:
    """The attention of one layer in one forward: its `calls`, or, of eager attention, the weights `eager`.

    `eager` is (batch, heads, queries, keys), `values` what its value projection gave, (batch, keys, ...), and `project`
    (width, heads · d) the weight that its output goes through next.
    """

    layer: int
    module: nn.Module
    calls: list[AttentionCall] = field(default_factory=list)
    eager: Tensor | None = None
    values: Tensor | None = None
    project: Tensor | None = None

    @property
    def heads(self) -> int:
        return int(self.eager.shape[1] if self.eager is not None else self.calls[0].q.shape[1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batch, queries, keys); in windowed attention the batch is that of all windows."""
        if self.eager is not None:
            return self.eager.shape[0], self.eager.shape[2], self.eager.shape[3]
        call = self.calls[0]
        return call.q.shape[0], call.q.shape[2], call.k.shape[2]

    def weights(self, rows: Tensor | None = None, heads: Tensor | None = None) -> Tensor:
        """(batch, heads, rows, keys): what each query takes of each value; rows sum to one but for `COEFFICIENTS`."""
        if self.eager is not None:
            weights = self.eager if heads is None else self.eager[:, heads]
            return precise(weights if rows is None else weights[:, :, rows])
        device = self.calls[0].q.device.type
        autocast = torch.is_autocast_enabled(device)  # to enter the context costs more than the weights of one row
        with torch.autocast(device, enabled=False) if autocast else nullcontext():
            each = [call.weights(rows, heads) for call in self.calls]
        return each[0] if len(each) == 1 else sum(a * b for a, b in zip(self.coefficients(), each, strict=True))

    def coefficients(self) -> Sequence[Any]:
        """By what each call counts in the layer's attention."""
        return [1.0] if len(self.calls) < 2 else COEFFICIENTS[kind_of(self.module)](self.module)

    @property
    def value(self) -> Tensor:
        """(batch, heads, keys, d): what attention adds up."""
        if self.values is None or self.project is None:
            return of_each_head(self.calls[0].v, self.heads)
        values = self.values[..., -self.project.shape[1] :]  # the last third, where queries and keys come with them
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, keys, d)

    @property
    def handle(self) -> Tensor:
        """The tensor whose gradient `weights_gradient` takes: the attention's output, or the eager weights."""
        return self.eager if self.eager is not None else self.calls[0].out

    def weights_gradient(self, gradient: Tensor, rows: Tensor | None = None) -> Tensor:
        """∂y/∂A (batch, heads, rows, keys) from ∂y/∂`handle`: as the output is A v, it is ∂y/∂out · vᵀ."""
        gradient = _split_heads(gradient, self.heads)
        gradient = gradient if rows is None else gradient[:, :, rows]
        if self.eager is not None:
            return gradient
        return precise(gradient) @ precise(self.value).transpose(-2, -1)  # (batch, heads, rows, keys)


def _differential(module: Any) -> Sequence[Any]:
    """Differential attention (arXiv 2410.05258): A₁ - λ A₂."""
    return [1.0, -float(module._compute_lambda())]


COEFFICIENTS: dict[str, Callable[[Any], Sequence[Any]]] = {
    "timm.layers.diff_attention.DiffAttention": _differential,
    "timm.models.vision_transformer.DiffParallelScalingBlock": _differential,
}
"""Classes that attend more than once a layer, and by what each call counts."""


class AttentionRecorder(TorchFunctionMode):
    """Records what is attended inside some modules, once it is attached to them.

    It is a mode from the moment such a module begins until it is done, as every call of torch costs a little inside.
    `modules` are (layer, module), none inside another; `on_layer` gets each layer's attention when the module is done.
    `gradients`: they begin at the outputs of the recorded attention where nothing before them asks for one.
    """

    def __init__(
        self,
        modules: Sequence[tuple[int, nn.Module]],
        on_layer: Callable[[LayerAttention], None],
        gradients: bool = False,
    ) -> None:
        super().__init__()
        self.modules = modules
        self.on_layer = on_layer
        self.gradients = gradients
        self.layer: LayerAttention | None = None  # of the module that runs now

    def attach(self, hooks: list[Any]) -> None:
        """Hook the modules; `borrowed`, whose list of hooks it is, ends the recording when it removes them."""
        hooks.append(self)
        for layer, module in self.modules:
            hooks.append(module.register_forward_pre_hook(self._enter(layer)))
            hooks.append(module.register_forward_hook(self._leave))
            if kind_of(module) in EAGER:
                weights, values = map(module.get_submodule, EAGER[kind_of(module)])
                hooks.append(weights.register_forward_pre_hook(self._record_weights))
                hooks.append(values.register_forward_hook(self._record_values))

    def _enter(self, layer: int) -> Callable[..., None]:
        def enter(module: nn.Module, inputs: Any) -> None:
            self.layer = LayerAttention(layer, module)
            self.__enter__()

        return enter

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        layer = self.layer
        self.remove()
        if layer is None or (not layer.calls and layer.eager is None):
            raise NetworkError(f"{type(module).__name__} attends in a way of its own that regard cannot read")
        if len(layer.calls) > 1 and kind_of(module) not in COEFFICIENTS:
            raise NetworkError(
                f"{type(module).__name__} attends {len(layer.calls)} times in a layer; regard reads once"
            )
        self.on_layer(layer)

    def remove(self) -> None:
        """Stop recording, after an exception in the middle of a module too."""
        if self.layer is not None:
            self.layer = None
            self.__exit__(None, None, None)

    def _record_weights(self, part: nn.Module, inputs: Any) -> None:
        if self.layer is not None:
            self.layer.eager = self._with_gradient(inputs[0])

    def _record_values(self, part: nn.Module, inputs: Any, output: Tensor) -> None:
        if self.layer is not None:
            self.layer.values = output

    def _with_gradient(self, x: Tensor) -> Tensor:
        """In place, as what the module goes on with must be the tensor that gradients are taken by."""
        if self.gradients and not x.requires_grad and torch.is_grad_enabled():
            x.requires_grad_()
        return x

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.layer is not None:
            if function is _FUSED:
                return self._attend(*args, **kwargs)
            if function is _MULTI_HEAD:
                return self._multi_head(*args, **kwargs)
            if (
                function is _LINEAR
                and self.layer.project is None
                and (self.layer.calls or self.layer.eager is not None)
            ):
                self.layer.project = args[1] if len(args) > 1 else kwargs["weight"]
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
        out = self._with_gradient(out)
        # Some modules (SAM's) put their heads into the batch's dimension.
        heads = int(getattr(self.layer and self.layer.module, "num_heads", 1)) if query.ndim == 3 else 1
        q, k, v, bias = (_split_heads(x, heads) for x in (query, key, value, attn_mask))  # (batch, heads, tokens, d)
        if is_causal:
            bias = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        bias = _additive(bias, q)
        scale = scale or 1 / math.sqrt(query.shape[-1])
        if self.layer is not None:
            self.layer.calls.append(AttentionCall(q, k, v, bias, scale, out))
        return out

    def _multi_head(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """torch's multi-head attention, projections and all, with its attention recorded.

        It projects inside one function, so the steps are made here: F.multi_head_attention_forward's own for the
        arguments that vision transformers give.
        """
        bound = _SIGNATURE.bind(*args, **kwargs)
        bound.apply_defaults()
        a = bound.arguments
        if a["bias_k"] is not None or a["add_zero_attn"] or a["static_k"] is not None or a["query"].ndim != 3:
            raise NetworkError("multi-head attention with added keys is not known to regard; it reads plain attention")
        q, k, v = _projected(a)  # each (tokens, batch, width)
        heads = a["num_heads"]
        length, batch, width = q.shape
        q, k, v = (x.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for x in (q, k, v))  # (batch, heads, tokens, d)
        mask = a["attn_mask"]
        if mask is not None and mask.ndim == 3:
            mask = mask.unflatten(0, (batch, heads))
        if a["key_padding_mask"] is not None:
            raise NetworkError("pictures with padding are not known to regard here; give them one by one")
        mask = ~mask if mask is not None and mask.dtype == torch.bool else mask
        out = self._attend(q, k, v, mask)
        joined = out.permute(2, 0, 1, 3).reshape(length, batch, width)  # (tokens, batch, heads · d)
        result = F.linear(joined, a["out_proj_weight"], a["out_proj_bias"])
        if self.layer is not None:
            self.layer.project = a["out_proj_weight"]
        weights = self.layer.calls[-1].weights() if a["need_weights"] and self.layer is not None else None
        return result, weights if weights is None or not a["average_attn_weights"] else weights.mean(1)


_FUSED = F.scaled_dot_product_attention
_MULTI_HEAD = F.multi_head_attention_forward
_LINEAR = F.linear
_SIGNATURE = inspect.signature(_MULTI_HEAD)


def _projected(a: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values as multi-head attention projects them."""
    query = a["query"]
    key = a["key"]
    value = a["value"]
    width = a["embed_dim_to_check"]
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


def _split_heads(x: Any, heads: int) -> Any:
    """(batch · heads, tokens, d) → (batch, heads, tokens, d); what has four dimensions already stays."""
    return x.unflatten(0, (-1, heads)) if isinstance(x, Tensor) and x.ndim == 3 else x


def _additive(mask: Tensor | None, q: Tensor) -> Tensor | None:
    """A mask of what may be attended to as what is added to the scores; other masks are that already."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, device=q.device).masked_fill_(~mask, float("-inf"))
    return precise(mask)
