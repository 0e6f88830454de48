"""One pass of a decoder over a finished caption, with gradients: from its tokens' probabilities to its attention."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.networks.attention.recorder import AttentionRecorder, LayerAttention
from regard.networks.captioners.decoding import CaptionModule
from regard.networks.captioners.transformer import Memory
from regard.networks.guard import borrowed


@dataclass(frozen=True)
class DecoderPass:
    """A pass over a caption, and the attention of some layers as the network used it: gradients by it can be taken.

    `log_probabilities` (tokens,) are natural, of each token after those before it. For each layer, `cross_attention` is
    that to what the decoder attends to, weights (1, heads, rows, keys), and `self_attention` that of its tokens to each
    other, (1, heads, rows, rows). Row `first_row` predicts the first token; `to_patches` makes (..., keys) into
    (..., patches).
    """

    log_probabilities: Tensor
    cross_attention: tuple[LayerAttention, ...]
    self_attention: tuple[LayerAttention, ...]
    first_row: int
    to_patches: Callable[[Tensor], Tensor]


def log_probabilities(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """(tokens,): the log-probability of each token by the logits (tokens, vocabulary) of the rows that predict them."""
    indices = torch.tensor(tokens, device=logits.device)[:, None]
    return logits.float().log_softmax(-1).gather(1, indices)[:, 0]


def decoder_pass(module: CaptionModule, memory: Memory, tokens: Sequence[int], layers: Sequence[int]) -> DecoderPass:
    """A pass of one of regard's own modules over a caption of the memory's one picture, gradients being on.

    Its weights need not ask for gradients: they begin at the attention of the first of the layers.
    """
    chosen = [module.decoder_layers[layer] for layer in layers]
    parts = [part for layer in chosen for part in (layer.self_attn, layer.multihead_attn)]
    attention: list[LayerAttention] = []
    recorder = AttentionRecorder(list(enumerate(parts)), attention.append, gradients=True)
    whole = torch.tensor([[module.start, *tokens]], device=memory.device)
    with borrowed(module, frozen=True) as hooks:
        recorder.attach(hooks)
        logits = module.decode(whole, memory)  # (1, 1 + tokens, vocabulary)
    logs = log_probabilities(logits[0, :-1], tokens)
    return DecoderPass(logs, tuple(attention[1::2]), tuple(attention[::2]), 0, lambda rows: rows)
