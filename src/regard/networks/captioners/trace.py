"""What one pass over a finished caption leaves behind: what checks of its words read, whatever the network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regard.networks.captioners.decoding import Decoding

AT_ONCE = 256
"""Patches whose logits over the whole vocabulary are held at once."""


@dataclass(frozen=True)
class Lens:
    """Hidden states behind one layer, in the space that the network's head reads: the logit lens.

    `words` (tokens + 1, width) are the states at the last token before the caption and at each of its tokens;
    `patches` (patches, width) those of the picture; `logs` (tokens, patches) is the log-probability of each of the
    caption's tokens where a patch's state goes through the last norm and the head.
    """

    words: Tensor
    patches: Tensor
    logs: Tensor


@dataclass(frozen=True)
class CaptionTrace:
    """A finished caption in one pass: its `decoding`, with the attention that was to be captured, and on the CPU, in
    float32, what else the network can give, None where it cannot.

    `attention` (layers, tokens, keys), the mean over heads, is that of the row which predicts each token, to everything
    that it can attend to there: the caption's own tokens are the keys from `first_word` on, those before them are of
    prompt and picture. `picture_keys` are the picture's among them; None where the picture has an attention of its own.
    `lens` is None where words and patches lie in no space in common.
    """

    decoding: Decoding
    attention: Tensor | None = None
    first_word: int = 0
    picture_keys: Tensor | None = None
    lens: Lens | None = None


def lens_of(states: Tensor, patches: Tensor, tokens: tuple[int, ...], head: Callable[[Tensor], Tensor]) -> Lens:
    """The lens of a caption's states (tokens + 1, width) and its picture's (patches, width); `head` makes states into
    logits (..., vocabulary). A few patches at a time, as a vocabulary is large."""
    chosen = torch.tensor(tokens, device=patches.device)
    logs = [head(part).float().log_softmax(-1)[:, chosen] for part in patches.split(AT_ONCE)]
    return Lens(states.float().cpu(), patches.float().cpu(), torch.cat(logs).T.float().cpu())


def record_output(part: nn.Module, outputs: list[Tensor]) -> Any:
    """Hook a part, so that what it gives goes into `outputs`; of several things the first."""

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    return part.register_forward_hook(hook)
