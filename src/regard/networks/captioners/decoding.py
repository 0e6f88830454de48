"""Captions, token by token: greedy, beam search, or teacher forcing, and the attention to the picture at each token.

Row i of the attention is that of input i of [start, token 0, token 1, ...]: it *predicts* token i, and row i + 1
*reads* it. All functions take encoded pictures (`Memory`) and leave the network as it was.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import NetworkError, UsageError
from regard.networks.captioners.attention import Capture, RowRecorder
from regard.networks.captioners.transformer import Cache, DecoderLayer, Memory
from regard.networks.guard import borrowed

Beam = tuple[float, tuple[int, ...]]
"""A log-probability, or its score by the length, and the tokens it is of."""


class CaptionModule(nn.Module, ABC):
    """A module that can go on with a caption: what `greedy`, `beam_search` and `teacher_force` need of it.

    `start` and `stop` are tokens, `vocabulary` counts them, `limit` is the most tokens that can follow the start.
    """

    start: int
    stop: int
    limit: int
    vocabulary: int

    @abstractmethod
    def encode(self, pixels: Tensor, mask: Tensor | None = None) -> Memory:
        """Normalised pictures (pictures, 3, height, width) → what the decoder attends to; `mask` is true on padding."""

    @abstractmethod
    def decode(self, tokens: Tensor, memory: Memory, cache: Cache | None = None) -> Tensor:
        """(batch, tokens) → logits (batch, tokens, vocabulary).

        The batch is the memory's pictures, or the same number of beams for each, those of one picture together. With a
        `cache` these tokens follow those that it holds. Tokens padded at the end need no mask: none attends to those
        behind it.
        """

    @abstractmethod
    def read_out(self, states: Tensor) -> Tensor:
        """States behind the decoder's last layer (..., width) → logits (..., vocabulary), by its norm and head."""

    @property
    def decoder_layers(self) -> list[DecoderLayer]:
        return [part for part in self.modules() if isinstance(part, DecoderLayer)]


LARGEST = 1 << 20
"""Of anything that a shape counts: a file from elsewhere must not take more memory than there is."""


def check_sizes(shape: Any, others: Sequence[str]) -> None:
    """Raise `UsageError` where a number of a network's shape, apart from those named in `others`, is out of range.

    Counts are whole and at least 1, tokens among the vocabulary, and dropout is from 0 to below 1.
    """
    for each in fields(shape):
        value = getattr(shape, each.name)
        low = 0 if each.name in ("start", "stop", "encoder_layers") else 1
        if each.name not in others and not (type(value) is int and low <= value <= LARGEST):
            raise UsageError(f"{each.name} is {value!r}, which is no whole number from {low} to {LARGEST}")
    if not (isinstance(shape.dropout, int | float) and 0 <= shape.dropout < 1):
        raise UsageError(f"dropout is {shape.dropout!r}; it must be from 0 to below 1")
    if max(shape.start, shape.stop) >= shape.vocabulary:
        raise UsageError(f"start {shape.start} or stop {shape.stop} is not among {shape.vocabulary} tokens")


@dataclass(frozen=True)
class Decoding:
    """One caption, on the CPU. `tokens` are those after the start, the stop among them if it came.

    `log_probabilities` (tokens,) are natural, of each token after those before it; `alternatives` and
    `alternative_log_probabilities` (tokens, k) the k best at each step, best first. `attention`, where it was
    captured, is (layers, heads, tokens + 1, rows, columns): to the picture's own patches, each row summing to one.
    `finished` is false where the length limit came before the stop.
    """

    tokens: tuple[int, ...]
    log_probabilities: Tensor
    alternatives: Tensor
    alternative_log_probabilities: Tensor
    attention: Tensor | None
    finished: bool

    @property
    def predicting(self) -> Tensor:
        """(layers, heads, tokens, rows, columns): for each token, the row that predicts it."""
        return self._captured()[:, :, :-1]

    @property
    def reading(self) -> Tensor:
        """(layers, heads, tokens, rows, columns): for each token, the row whose input it is."""
        return self._captured()[:, :, 1:]

    def _captured(self) -> Tensor:
        if self.attention is None:
            raise UsageError("the attention of this caption was not captured; ask for it with capture=Capture(...)")
        return self.attention


def greedy(
    module: CaptionModule,
    memory: Memory,
    *,
    limit: int | None = None,
    capture: Capture | None = None,
    alternatives: int = 0,
) -> list[Decoding]:
    """The likeliest next token, again and again, for each of the memory's pictures.

    `limit` is the most tokens, by default as many as the network can. With `capture` the attention comes along:
    tokens × patches × layers × heads numbers. Raises `UsageError` for a limit or number of alternatives out of range.
    """
    limit = _checked_limit(module, limit, alternatives)
    cache = Cache()
    steps = _Steps(alternatives)
    last = torch.full((memory.pictures, 1), module.start, device=memory.device)
    ended = torch.zeros(memory.pictures, 1, dtype=torch.bool, device=memory.device)
    with borrowed(module) as hooks, torch.no_grad():
        recorder = _recorder(module, capture, hooks)
        for _ in range(limit):
            logits = module.decode(last, memory, cache)  # (pictures, 1, vocabulary)
            last = logits[:, -1:].argmax(-1)
            steps.add(logits, last)
            ended |= last == module.stop
            if ended.all():
                break
        if recorder is not None:  # one step more: the row that reads the last token
            module.decode(last, memory, cache)
    tokens = torch.cat(steps.tokens, dim=1).tolist()
    return steps.decodings([until_stop(row, (module.stop,)) for row in tokens], module.stop, memory, recorder)


def teacher_force(
    module: CaptionModule,
    memory: Memory,
    captions: Sequence[Sequence[int]],
    *,
    capture: Capture | None = None,
    alternatives: int = 0,
) -> list[Decoding]:
    """Given captions, one for each of the memory's pictures: probabilities and attention with these as the input.

    A caption is its tokens after the start, with the stop where it is to be judged too. One pass for all of them.
    Raises `UsageError` for a caption that is empty, too long, or has tokens that are not in the vocabulary.
    """
    _checked_limit(module, None, alternatives)
    _check_captions(module, memory, captions)
    longest = max(map(len, captions))
    rows = [[module.start, *caption, *[0] * (longest - len(caption))] for caption in captions]
    tokens = torch.tensor(rows, device=memory.device)
    steps = _Steps(alternatives)
    with borrowed(module) as hooks, torch.no_grad():
        recorder = _recorder(module, capture, hooks)
        logits = module.decode(tokens, memory)
    steps.add(logits[:, :-1], tokens[:, 1:])
    return steps.decodings([tuple(map(int, caption)) for caption in captions], module.stop, memory, recorder)


def _recorder(module: CaptionModule, capture: Capture | None, hooks: list[Any]) -> RowRecorder | None:
    """Of the attention of all queries to the picture."""
    if capture is None:
        return None
    attentions = [layer.multihead_attn for layer in module.decoder_layers]
    recorder = RowRecorder(attentions, attentions[0].heads, capture)
    recorder.attach(hooks)
    return recorder


def beam_search(
    module: CaptionModule,
    memory: Memory,
    beams: int,
    *,
    limit: int | None = None,
    penalty: float = 1.0,
    capture: Capture | None = None,
    alternatives: int = 0,
) -> list[Decoding]:
    """The best caption that `beams` open ones at a time lead to, for each of the memory's pictures.

    Captions are compared by log-probability / tokens ** penalty, so that 0 prefers short ones. A picture's search
    ends when it has `beams` finished captions and its best open one, as long as it is now, is no better than any of
    them. Attention and probabilities are those of the winner: one more pass over it gives them, so they cannot belong
    to another beam. Raises `UsageError` for numbers out of range.
    """
    limit = _checked_limit(module, limit, alternatives)
    if beams < 1:
        raise UsageError(f"{beams} beams are none; there must be at least 1 (3 to 5 are usual)")
    searches = [_Search(beams, penalty, module.stop) for _ in range(memory.pictures)]
    with borrowed(module), torch.no_grad():
        _search_in_step(module, memory, searches, limit)
    return teacher_force(
        module, memory, [search.best() for search in searches], capture=capture, alternatives=alternatives
    )


@dataclass
class _Search:
    """The open beams of one picture as (log-probability, tokens), best first, and its finished captions.

    There are always `beams` open ones, so that the batch keeps its shape; those that are none yet have -inf.
    """

    beams: int
    penalty: float
    stop: int
    open: list[Beam] = field(default_factory=list)
    finished: list[Beam] = field(default_factory=list)
    done: bool = False

    def __post_init__(self) -> None:
        self.open = [(0.0, ()), *[(-math.inf, ())] * (self.beams - 1)]

    def advance(self, candidates: Sequence[tuple[float, int, int]]) -> list[int]:
        """Go on with the best (log-probability, parent beam, token), best first; the parents of the new beams."""
        following: list[Beam] = []
        parents: list[int] = []
        for rank, (score, parent, token) in enumerate(candidates):
            tokens = (*self.open[parent][1], token)
            if token != self.stop and len(following) < self.beams:
                following.append((score, tokens))
                parents.append(parent)
            elif token == self.stop and rank < self.beams and score > -math.inf and not self.done:
                self.finished.append(self._scored(score, tokens))
        self.open = following
        self.finished = sorted(self.finished, key=lambda beam: -beam[0])[: self.beams]
        # With captions enough and the best open one no better, it is over, though that one might become better.
        if len(self.finished) == self.beams and self._scored(*self.open[0])[0] <= self.finished[-1][0]:
            self.done = True
        return parents

    def best(self) -> tuple[int, ...]:
        """The best caption, finished or, at the length limit, not."""
        unfinished = [] if self.done else [self._scored(*beam) for beam in self.open if beam[0] > -math.inf]
        return max([*self.finished, *unfinished], key=lambda beam: beam[0])[1]

    def _scored(self, score: float, tokens: tuple[int, ...]) -> Beam:
        return score / max(len(tokens), 1) ** self.penalty, tokens


def _search_in_step(module: CaptionModule, memory: Memory, searches: Sequence[_Search], limit: int) -> None:
    """All searches in step, until each is done or the limit is reached."""
    beams = searches[0].beams
    cache = Cache()
    last = torch.full((len(searches) * beams, 1), module.start, device=memory.device)
    for _ in range(limit):
        logits = module.decode(last, memory, cache)  # (pictures · beams, 1, vocabulary)
        scores = torch.tensor([[score for score, _ in search.open] for search in searches], device=memory.device)
        candidates = _candidates(scores, logits[:, -1].float().log_softmax(-1))
        parents = [search.advance(best) for search, best in zip(searches, candidates, strict=True)]
        if all(search.done for search in searches):
            return
        rows = [index * beams + parent for index, of_picture in enumerate(parents) for parent in of_picture]
        cache.reorder(torch.tensor(rows, device=memory.device))
        tokens = [beam[-1] for search in searches for _, beam in search.open]
        last = torch.tensor(tokens, device=memory.device)[:, None]


def _candidates(scores: Tensor, steps: Tensor) -> list[list[tuple[float, int, int]]]:
    """scores (pictures, beams), steps (pictures × beams, vocabulary) → the best (score, beam, token) of each picture.

    Twice as many as beams: even if every beam stops, there are enough that go on.
    """
    if steps.isnan().any():
        raise NetworkError(_NAN)
    pictures, beams = scores.shape
    total = (scores[..., None] + steps.unflatten(0, (pictures, beams))).flatten(1)  # (pictures, beams · vocabulary)
    best, index = total.topk(2 * beams)
    vocabulary = steps.shape[-1]
    return [
        [(score, entry // vocabulary, entry % vocabulary) for score, entry in zip(*row, strict=True)]
        for row in zip(best.tolist(), index.tolist(), strict=True)
    ]


_NAN = "the network gave values that are no numbers (NaN); its weights or the picture are damaged"


@dataclass
class _Steps:
    """The tokens and probabilities of each step, of all pictures at once; `k` alternatives at each."""

    k: int
    tokens: list[Tensor] = field(default_factory=list)
    log_probabilities: list[Tensor] = field(default_factory=list)
    best: list[Tensor] = field(default_factory=list)
    best_log_probabilities: list[Tensor] = field(default_factory=list)

    def add(self, logits: Tensor, tokens: Tensor) -> None:
        """logits (batch, tokens, vocabulary) and the tokens (batch, tokens) that were chosen."""
        steps = logits.float().log_softmax(-1)
        values, indices = steps.topk(self.k)
        self.tokens.append(tokens)
        self.log_probabilities.append(steps.gather(-1, tokens[..., None])[..., 0])
        self.best.append(indices)
        self.best_log_probabilities.append(values)

    def decodings(
        self, captions: Sequence[tuple[int, ...]], stop: int, memory: Memory, recorder: RowRecorder | None
    ) -> list[Decoding]:
        """One for each picture, cut to its own length and its own patches."""
        lists = (self.log_probabilities, self.best, self.best_log_probabilities)
        logs, best, values = (torch.cat(each, 1).cpu() for each in lists)  # each (pictures, tokens, ...)
        if logs.isnan().any():
            raise NetworkError(_NAN)
        # (layers, pictures, heads, tokens, patches)
        attention = None if recorder is None else recorder.attention().cpu()
        decodings = []
        for index, caption in enumerate(captions):
            count = len(caption)
            grid = None
            if attention is not None:
                rows, columns = memory.shapes[index]  # of the picture without its padding
                padded = attention[:, index, :, : count + 1].unflatten(-1, (memory.rows, memory.columns))
                grid = padded[..., :rows, :columns].clone()  # (layers, heads, tokens, rows, columns)
            log, choice, value = (each[index, :count].clone() for each in (logs, best, values))
            decodings.append(Decoding(caption, log, choice, value, grid, caption[-1] == stop))
        return decodings


def until_stop(tokens: Iterable[int], stops: Collection[int]) -> tuple[int, ...]:
    """The tokens up to the first of `stops`, which is the last of them."""
    caption: list[int] = []
    for token in tokens:
        caption.append(int(token))
        if token in stops:
            break
    return tuple(caption)


def _checked_limit(module: CaptionModule, limit: int | None, alternatives: int) -> int:
    limit = module.limit if limit is None else limit
    if not 1 <= limit <= module.limit:
        raise UsageError(f"a length limit of {limit} tokens is out of range; it goes from 1 to {module.limit}")
    if not 0 <= alternatives <= module.vocabulary:
        raise UsageError(f"{alternatives} alternatives are out of range; there may be 0 to {module.vocabulary}")
    return limit


def _check_captions(module: CaptionModule, memory: Memory, captions: Sequence[Sequence[int]]) -> None:
    check_count(memory.pictures, captions, module.limit)
    for index, caption in enumerate(captions):
        wrong = [token for token in caption if not 0 <= token < module.vocabulary]
        if wrong:
            raise UsageError(f"caption {index} has the token {wrong[0]}; they go from 0 to {module.vocabulary - 1}")


def check_count(pictures: int, captions: Sequence[Sequence[int]], limit: int) -> None:
    """Raise `UsageError` unless there is a caption for each of so many pictures, of 1 to `limit` tokens."""
    if len(captions) != pictures:
        raise UsageError(f"{len(captions)} captions came for {pictures} pictures; give one for each")
    for index, caption in enumerate(captions):
        if not 1 <= len(caption) <= limit:
            raise UsageError(
                f"caption {index} has {len(caption)} tokens; there may be 1 to {limit}, the stop among them"
            )
