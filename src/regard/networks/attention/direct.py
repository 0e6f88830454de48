"""What the last attention adds to the logits directly: the rest of its block and the norms behind it as constants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from regard.errors import NetworkError
from regard.networks.attention.recorder import precise
from regard.networks.attention.trace import layer_count
from regard.networks.network import Network

ADVICE = "use attention, legrad or occlusion"


def last_attention(network: Network) -> int:
    """The layer whose attention the head reads last: the pooling's only where the head reads through it.

    Raises `NetworkError` for a network without attention, or whose block of it is not known.
    """
    last = layer_count(network) - 1
    last -= network.anatomy.readers if network.anatomy.reads == "patches" else 0
    if network.anatomy.block_of(last) is None and not network.anatomy.readers:
        raise NetworkError(f"{network.name} has no block around its last attention that regard knows; {ADVICE}")
    return last


@dataclass(frozen=True)
class Norm:
    """A norm behind the attention: what it got, (batch, tokens, width) or (batch, width), and how it divides that."""

    x: Tensor
    eps: float
    centres: bool

    def scale(self, tokens: slice = slice(None)) -> Tensor:
        """(batch, tokens, 1), or (batch, 1): by what each token is multiplied."""
        x = precise(self.x[:, tokens] if self.x.ndim > 2 else self.x)
        x = x - x.mean(dim=-1, keepdim=True) if self.centres else x
        return torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self.eps)


class DirectPath(TorchFunctionMode):
    """A forward in which the logits are affine in what the attention of `layer` gives.

    Behind it what a linear layer of the same block gets is a constant, which takes the MLP away, and so is what norms
    divide by: `scales` gives those of each, in their order, where they are not to be the picture's own. With `before`,
    another's forward of the same pictures, all constants are that one's and the attention gives zeros.

    Elhage et al. 2021 (A Mathematical Framework for Transformer Circuits), direct logit attribution: norms behind the
    last layer are linear but for a scale, which is frozen, and the direct path passes no MLP.
    """

    def __init__(
        self,
        network: Network,
        layer: int,
        scales: Callable[[int, Tensor], Tensor] | None = None,
        before: "DirectPath | None" = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self.scales = scales
        self.before = before
        self.norms: list[Norm] = []
        self.linears: list[Tensor | None] = []  # what each gave; None for one on the direct path
        self.inside = False  # the attention
        self.attended = False
        self.behind = False  # its projection
        self.in_block = True

    def attach(self, hooks: list[Any]) -> None:
        """Be in force until the hooks are removed, by `borrowed`, whose list they are: a forward alone."""
        module = self.network.module
        path = self.network.anatomy.attentions[self.layer]
        attention = module.get_submodule(path)
        block = self.network.anatomy.block_of(self.layer)
        if block is None:  # a pooling, whose MLP torch's own attention does not hold
            block = path.rpartition(".")[0] if isinstance(attention, nn.MultiheadAttention) else path
        hooks.append(attention.register_forward_pre_hook(self._enter))
        hooks.append(attention.register_forward_hook(self._leave))
        hooks.append(module.get_submodule(block).register_forward_hook(self._leave_block))
        hooks.append(self)
        self.__enter__()

    def remove(self) -> None:
        self.__exit__(None, None, None)

    def _enter(self, part: nn.Module, inputs: Any) -> None:
        self.inside = True

    def _leave(self, part: nn.Module, inputs: Any, output: Any) -> Any:
        self.inside = False
        if self.attended or self.before is None:
            self.attended = True
            return output
        self.attended = True  # written out, as `EAGER` has it: the module gives no more than what it attended to
        return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

    def _leave_block(self, part: nn.Module, inputs: Any, output: Any) -> None:
        self.in_block = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.inside and function is F.scaled_dot_product_attention:
            out = function(*args, **kwargs)
            self.attended = True
            return out if self.before is None else torch.zeros_like(out)
        if self.attended and function in _NORMS:
            return self._norm(function, *args, **kwargs)
        if self.attended and self.in_block and function is F.linear:
            return self._linear(*args, **kwargs)
        return function(*args, **kwargs)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.before is not None:
            self.linears.append(None)
            constant = self.before.linears[len(self.linears) - 1]
            return F.linear(x, weight, bias) if constant is None else constant
        direct = not self.behind and (x.requires_grad or not torch.is_grad_enabled())
        self.behind = self.behind or direct
        out = F.linear(x if direct else x.detach(), weight, bias)
        self.linears.append(None if direct else out)
        return out

    def _norm(
        self,
        function: Any,
        input: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        centres = function is F.layer_norm
        eps = eps if eps is not None else 1e-5 if centres else torch.finfo(input.dtype).eps
        norm = Norm(input, eps, centres)
        self.norms.append(norm)
        if not torch.is_grad_enabled() and self.before is None and self.scales is None:
            more = (bias, eps) if centres else (eps,)
            return torch.as_tensor(function(input, normalized_shape, weight, *more))
        if self.before is not None:
            scale = self.before.norms[len(self.norms) - 1].scale()
        else:
            scale = norm.scale()
            scale = scale if self.scales is None else self.scales(len(self.norms) - 1, scale)
        x = input - input.mean(dim=-1, keepdim=True) if centres else input
        x = x * scale.detach().to(x.dtype)
        x = x if weight is None else x * weight
        return x if bias is None else x + bias


_NORMS = (F.layer_norm, F.rms_norm)
