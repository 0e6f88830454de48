"""Methods of kind `word` by attention: where a captioner looks for each token of a finished caption."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from regard.errors import UsageError, unknown
from regard.explanation import METHODS
from regard.explanation.pictures.gradients import gradients_on
from regard.explanation.words import ROWS
from regard.networks.attention.trace import indices
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoder_pass import DecoderPass
from regard.records import Float

NEEDS = {
    "attention": "attention to the picture",
    "gradients": "gradients",
    "decoder": "a decoder that looks at the picture by attention of its own",
    "picture tokens": "a language model that has the picture among its tokens",
    "text attention": "attention to the words before",
    "shared": "one attention over picture and words together",
    "lens": "hidden states of words and patches that one head reads",
}
"""What a method or a check of words may require of a captioner, and what it may lack."""


def fitting(captioner: CaptionNetwork) -> tuple[str, ...]:
    """The methods of kind `word` that this captioner has what it takes for."""
    return tuple(row.name for row in METHODS if row.kind == "word" and captioner.capabilities.issuperset(row.requires))


def check_fits(method: str, captioner: CaptionNetwork) -> None:
    """Raise `UsageError` where a captioner lacks what a method requires, naming the methods that it can do."""
    lacking = [NEEDS.get(need, need) for need in METHODS[method].requires if need not in captioner.capabilities]
    if lacking:
        raise UsageError(
            f"{method} needs {' and '.join(lacking)}, which {captioner.name} ({captioner.architecture}) lacks; "
            f"use {' or '.join(fitting(captioner)) or 'another captioner'}"
        )


def check_caption(captioner: CaptionNetwork, tokens: Sequence[int]) -> tuple[int, ...]:
    """The tokens of a caption as integers. Raises `UsageError` for one that is empty or too long."""
    if not 1 <= len(tokens) <= captioner.limit:
        raise UsageError(
            f"the caption has {len(tokens)} tokens; there may be 1 to {captioner.limit}, the stop among them"
        )
    return tuple(int(token) for token in tokens)


def check_predicting(method: str, row: str) -> None:
    """Raise `UsageError` for any row but the predicting one."""
    if row not in ROWS:
        raise unknown("row", row, ROWS)
    if row != "predicting":
        raise UsageError(f"{method} is of what predicts a word, so it has no row that reads it; leave the row out")


def cross_attention(
    captioner: CaptionNetwork,
    picture: PreparedPicture,
    tokens: Sequence[int],
    *,
    layer: int | None = None,
    head: int | None = None,
    row: str = "predicting",
) -> Float:
    """Maps (tokens, rows, columns) of the attention to the picture: from 0 to 1, together at most 1 for each token.

    softmax(q kᵀ / √d) of `layer`, by default the last, and of `head`, by default the mean over heads, in the row that
    predicts a token, or, with `row` "reading", in the one whose input it is. Of a decoder that looks at the picture a
    row sums to 1, of a language model with the picture among its tokens to less. Raises `UsageError` for a layer, head
    or row that there is not, and for a caption that is empty or too long.
    """
    if row not in ROWS:
        raise unknown("row", row, ROWS)
    capture = Capture(captioner.layers - 1 if layer is None else layer, "mean" if head is None else head)
    (decoding,) = captioner.teacher_force([picture], [tokens], capture=capture)
    rows = decoding.predicting if row == "predicting" else decoding.reading
    return rows[0, 0].float().numpy().astype(np.float32)


def grad_cross_attention(
    captioner: CaptionNetwork,
    picture: PreparedPicture,
    tokens: Sequence[int],
    *,
    layer: int | None = None,
    head: int | None = None,
    row: str = "predicting",
    start: int | None = None,
) -> Float:
    """Maps (tokens, rows, columns) of Chefer, Gur and Wolf 2021 for each token's own log-probability: at least 0.

    Of one `layer`, by default the last, the row that predicts token t of Ā = E_h[(∇A ⊙ A)⁺] (eq. 5), where A is the
    attention to the picture and ∇A = ∂ log p(t) / ∂A; with `head` that head alone. With `start` the paper's rules go
    through the decoder layers from there on, beginning with R_qq = I and R_qi = 0: R_qi ← R_qi + Ā R_qi and R_qq ← R_qq
    + Ā R_qq by the self-attention (eq. 7 and 6), then R_qi ← R_qi + R̂_qqᵀ Ā by the attention to the picture (eq. 10),
    with R̂ = I + (R - I) / its rows' sums (eq. 8 and 9; rows to which nothing was added stay as they are, where the
    authors' code divides by 0); the map is R_qi in the row that predicts t. Encoders are of many kinds, so they are not
    gone through: R_ii = I. Raises `UsageError` for a captioner without such a decoder, and numbers out of range.
    """
    check_fits("grad_cross_attention", captioner)
    check_predicting("grad_cross_attention", row)
    if start is not None and (layer is not None or head is not None):
        raise UsageError(
            "grad_cross_attention takes --layer and --head, or --start and all behind it; give one of them"
        )
    captioner.check(Capture(layer, "mean" if head is None else head))
    tokens = check_caption(captioner, tokens)
    last = captioner.layers - 1
    if start is not None:
        indices("layer", start, captioner.layers)
    chosen = range(start, last + 1) if start is not None else [last if layer is None else layer]
    with gradients_on():
        decoding = captioner.decoder_pass(picture, tokens, chosen)
        rows = _through_layers(decoding) if start is not None else _of_layer(decoding, chosen[0] < last, head)
    return picture.grid.fold(decoding.to_patches(rows.detach()).float().cpu().numpy()).astype(np.float32)


def _of_layer(decoding: DecoderPass, mixes: bool, head: int | None) -> Tensor:
    """(tokens, keys): eq. 5 for one layer. `mixes`: tokens still do behind it, so each needs a backward of its own."""
    logs = decoding.log_probabilities
    (attention,) = decoding.cross_attention
    rows = torch.arange(len(logs), device=logs.device) + decoding.first_row  # those that predict the tokens
    parts = logs if mixes else [logs.sum()]
    slopes = [torch.autograd.grad(part, attention.handle, retain_graph=True)[0] for part in parts]
    if mixes:
        each = [attention.weights_gradient(slope, row[None])[0] for slope, row in zip(slopes, rows, strict=True)]
        slope = torch.cat(each, dim=1)  # (heads, tokens, keys)
    else:
        slope = attention.weights_gradient(slopes[0], rows)[0]
    helping = (slope * attention.weights(rows)[0]).clamp(min=0)  # (heads, tokens, keys)
    return helping.mean(0) if head is None else helping[head]


def _through_layers(decoding: DecoderPass) -> Tensor:
    """(tokens, keys): R_qi in the row that predicts each token, by one backward for each."""
    attentions = [*decoding.self_attention, *decoding.cross_attention]
    weights = [attention.weights().detach() for attention in attentions]  # each (1, heads, rows, keys)
    count = len(decoding.self_attention)
    rows = []
    for index, log in enumerate(decoding.log_probabilities):
        slopes = torch.autograd.grad(log, [attention.handle for attention in attentions], retain_graph=True)
        helping = [
            (attention.weights_gradient(slope).detach() * each).clamp(min=0)[0].mean(0)  # (rows, keys)
            for attention, slope, each in zip(attentions, slopes, weights, strict=True)
        ]
        rows.append(propagated(helping[:count], helping[count:])[decoding.first_row + index])
    return torch.stack(rows)


def propagated(self_attention: Sequence[Tensor], cross_attention: Sequence[Tensor]) -> Tensor:
    """R_qi (rows, keys) by eq. 6 to 10, of the Ā of self-attention (rows, rows) and cross-attention (rows, keys)."""
    to_picture = torch.zeros_like(cross_attention[0])  # R_qi
    identity = torch.eye(len(to_picture), dtype=to_picture.dtype, device=to_picture.device)
    to_tokens = identity  # R_qq
    for among_tokens, cross in zip(self_attention, cross_attention, strict=True):
        to_picture = to_picture + among_tokens @ to_picture  # eq. 7
        to_tokens = to_tokens + among_tokens @ to_tokens  # eq. 6
        added = to_tokens - identity
        # Rows to which nothing was added stay the identity's; the authors' code divides by 0 there.
        normalised = identity + added / added.sum(-1, keepdim=True).clamp_min(torch.finfo(added.dtype).tiny)  # eq. 8, 9
        to_picture = to_picture + normalised.T @ cross  # eq. 10
    return to_picture
