"""A caption given to a decoder once more, so that gradients flow: from what it says to the attention it says it by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.networks.captioners.decoding import CaptionModule
from regard.networks.captioners.transformer import Attention, DecoderLayer, Memory
from regard.networks.guard import replaced_forwards


@dataclass(frozen=True)
class DecoderPass:
    """One pass over a caption, and the attention of some layers as the network used it: gradients by it can be taken.

    `log_probabilities` (tokens,) are natural, of each token after those before it. For each layer, `cross` is the
    attention (1, heads, rows, keys) to what the decoder looks at, and `itself` (1, heads, rows, rows) that of its
    tokens to each other. Row `first` predicts the first token; `to_patches` makes (..., keys) into (..., patches).
    """

    log_probabilities: Tensor
    cross: tuple[Tensor, ...]
    itself: tuple[Tensor, ...]
    first: int
    to_patches: Callable[[Tensor], Tensor]


def chosen(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """(tokens,): the log-probability of each token by the logits (tokens, vocabulary) of the rows that predict them."""
    picked = torch.tensor([list(tokens)], device=logits.device)
    return logits.float().log_softmax(-1).gather(1, picked.T)[:, 0]


def decoder_pass(module: CaptionModule, memory: Memory, tokens: Sequence[int], layers: Sequence[int]) -> DecoderPass:
    """A pass of one of regard's own networks over a caption of the memory's one picture, gradients being on.

    Of its weights none need ask for gradients: they begin at the first of the layers.
    """
    paths = [path for path, part in module.named_modules() if isinstance(part, DecoderLayer)]
    cross, itself = list[Tensor](), list[Tensor]()
    forwards = {
        f"{paths[layer]}.{name}": _keeping(getattr(module.get_submodule(paths[layer]), name), kept)
        for layer in layers
        for name, kept in (("self_attn", itself), ("multihead_attn", cross))
    }
    whole = torch.tensor([[module.start, *tokens]], device=memory.device)
    with replaced_forwards(module, forwards):
        logits, _ = module.decode(whole, memory)
    return DecoderPass(chosen(logits[0, :-1], tokens), tuple(cross), tuple(itself), 0, lambda rows: rows)


def _keeping(attention: Attention, kept: list[Tensor]) -> Callable[..., Tensor]:
    """The attention written out in the place of the fused one, with its weights put into `kept`."""

    def forward(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        begins = q if q.requires_grad else q.detach().requires_grad_()
        x, weights = attention.look(begins, k, v, seen)
        kept.append(weights)
        return x

    return forward
