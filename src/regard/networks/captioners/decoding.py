"""Captions, token by token: greedy, beam search, or a given one, and where the network looked for each token.

Row i of the attention is that of input i of [start, token 0, token 1, ...]: it *predicts* token i, and row i + 1
*reads* it. All functions take encoded pictures (`Memory`) and leave the network as they found it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import NetworkError, UsageError
from regard.networks.captioners.transformer import Cache, Memory
from regard.networks.guard import borrowed

Beam = tuple[float, tuple[int, ...]]
"""A log-probability, or how it is judged, and the tokens it is of."""


class CaptionModule(nn.Module, ABC):
    """A network that can go on with a caption: what `greedy`, `beam_search` and `force` need of it.

    `start` and `stop` are tokens, `vocabulary` counts them, `limit` is the most tokens that can follow the start.
    """

    start: int
    stop: int
    limit: int
    vocabulary: int

    @abstractmethod
    def encode(self, pixels: Tensor, mask: Tensor | None = None) -> Memory:
        """Normalised pictures (pictures, 3, height, width) → what the decoder looks at; `mask` is true on padding."""

    @abstractmethod
    def decode(
        self, tokens: Tensor, memory: Memory, cache: Cache | None = None, capture: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """(batch, tokens) → logits (batch, tokens, vocabulary) and attention (layers, batch, heads, tokens, patches).

        The batch is the memory's pictures, or the same number of beams for each, those of one picture together; the
        attention comes with `capture` only. With a `cache` these tokens follow those that it remembers.
        """


LARGEST = 1 << 20
"""Of anything that a shape counts: a stranger's file must not ask for more memory than there is."""


def check_sizes(shape: Any, others: Sequence[str]) -> None:
    """Raise `UsageError` where a number of a network's shape, those named `others` apart, cannot be one.

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
            raise UsageError("the attention of this caption was not captured; ask for it with capture=True")
        return self.attention


def greedy(
    module: CaptionModule, memory: Memory, *, limit: int | None = None, capture: bool = False, alternatives: int = 0
) -> list[Decoding]:
    """The likeliest next token, again and again, for each of the memory's pictures.

    `limit` is the most tokens, by default as many as the network can. With `capture` the attention is kept:
    tokens × patches × layers × heads numbers. Raises `UsageError` for a limit or number of alternatives out of range.
    """
    limit = _check(module, limit, alternatives)
    cache, notes = Cache(), _Notes(alternatives)
    last = torch.full((memory.pictures, 1), module.start, device=memory.device)
    ended = torch.zeros(memory.pictures, 1, dtype=torch.bool, device=memory.device)
    with borrowed(module), torch.no_grad():
        for _ in range(limit):
            logits, attention = module.decode(last, memory, cache, capture)
            last = logits[:, -1:].argmax(-1)
            notes.add(logits, last, attention)
            ended |= last == module.stop
            if ended.all():
                break
        if capture:  # one step more: the row that reads the last token
            notes.look(module.decode(last, memory, cache, capture)[1])
    tokens = torch.cat(notes.tokens, dim=1).tolist()
    return notes.decodings([_until(row, module.stop) for row in tokens], module.stop, memory)


def teacher_force(
    module: CaptionModule,
    memory: Memory,
    captions: Sequence[Sequence[int]],
    *,
    capture: bool = False,
    alternatives: int = 0,
) -> list[Decoding]:
    """Given captions, one for each of the memory's pictures: what the network says and sees when it must say them.

    A caption is its tokens after the start, with the stop where it is to be judged too. One pass for all of them.
    Raises `UsageError` for a caption that is empty, too long, or has tokens that there are not.
    """
    _check(module, None, alternatives)
    _check_captions(module, memory, captions)
    longest = max(map(len, captions))
    rows = [[module.start, *caption, *[0] * (longest - len(caption))] for caption in captions]
    tokens, notes = torch.tensor(rows, device=memory.device), _Notes(alternatives)
    with borrowed(module), torch.no_grad():
        logits, attention = module.decode(tokens, memory, capture=capture)
    notes.add(logits[:, :-1], tokens[:, 1:], attention)
    return notes.decodings([tuple(map(int, caption)) for caption in captions], module.stop, memory)


def beam_search(
    module: CaptionModule,
    memory: Memory,
    beams: int,
    *,
    limit: int | None = None,
    penalty: float = 1.0,
    capture: bool = False,
    alternatives: int = 0,
) -> list[Decoding]:
    """The best caption that `beams` open ones at a time lead to, for each of the memory's pictures.

    Captions are compared by log-probability / tokens ** penalty, so that 0 prefers short ones. A picture's search
    ends when it has `beams` finished captions and its best open one, as long as it is now, is no better than any of
    them. Attention and probabilities are those of the winner: one more pass over it gives them, so they cannot belong
    to another beam. Raises `UsageError` for numbers out of range.
    """
    limit = _check(module, limit, alternatives)
    if beams < 1:
        raise UsageError(f"{beams} beams are none; there must be at least 1 (3 to 5 are usual)")
    searches = [_Search(beams, penalty, module.stop) for _ in range(memory.pictures)]
    with borrowed(module), torch.no_grad():
        _run(module, memory, searches, limit)
    return teacher_force(
        module, memory, [search.best() for search in searches], capture=capture, alternatives=alternatives
    )


@dataclass
class _Search:
    """The open beams of one picture as (log-probability, tokens), best first, and what is finished.

    Places that no beam fills have -inf; there is always one of each of `beams`, so that the batch keeps its shape.
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
        following, parents = list[Beam](), list[int]()
        for rank, (score, parent, token) in enumerate(candidates):
            tokens = (*self.open[parent][1], token)
            if token != self.stop and len(following) < self.beams:
                following.append((score, tokens))
                parents.append(parent)
            elif token == self.stop and rank < self.beams and score > -math.inf and not self.done:
                self.finished.append(self._judged(score, tokens))
        self.open = following
        self.finished = sorted(self.finished, key=lambda judged: -judged[0])[: self.beams]
        self.done = self.done or self._is_decided()
        return parents

    def _is_decided(self) -> bool:
        """Whether there are captions enough, and the best open one is no better (it might become so: `done` stays)."""
        return len(self.finished) == self.beams and self._judged(*self.open[0])[0] <= self.finished[-1][0]

    def best(self) -> tuple[int, ...]:
        """The best caption, finished or, at the length limit, not."""
        still = [] if self.done else [self._judged(*beam) for beam in self.open if beam[0] > -math.inf]
        return max([*self.finished, *still], key=lambda judged: judged[0])[1]

    def _judged(self, score: float, tokens: tuple[int, ...]) -> Beam:
        return score / max(len(tokens), 1) ** self.penalty, tokens


def _run(module: CaptionModule, memory: Memory, searches: Sequence[_Search], limit: int) -> None:
    """All searches in step, until each is done or the limit is reached."""
    beams, cache = searches[0].beams, Cache()
    last = torch.full((len(searches) * beams, 1), module.start, device=memory.device)
    for _ in range(limit):
        logits, _none = module.decode(last, memory, cache)
        scores = torch.tensor([[score for score, _ in search.open] for search in searches], device=memory.device)
        candidates = _candidates(scores, logits[:, -1].float().log_softmax(-1))
        parents = [search.advance(best) for search, best in zip(searches, candidates, strict=True)]
        if all(search.done for search in searches):
            return
        places = [index * beams + parent for index, row in enumerate(parents) for parent in row]
        cache.reorder(torch.tensor(places, device=memory.device))
        tokens = [beam[-1] for search in searches for _, beam in search.open]
        last = torch.tensor(tokens, device=memory.device)[:, None]


def _candidates(scores: Tensor, steps: Tensor) -> list[list[tuple[float, int, int]]]:
    """scores (pictures, beams), steps (pictures × beams, vocabulary) → the best (score, beam, token) of each picture.

    Twice as many as beams: even if every beam stops, there are enough that go on.
    """
    if steps.isnan().any():
        raise NetworkError(_NAN)
    pictures, beams = scores.shape
    total = (scores[..., None] + steps.unflatten(0, (pictures, beams))).flatten(1)
    best, index = total.topk(2 * beams)
    vocabulary = steps.shape[-1]
    return [
        [(score, place // vocabulary, place % vocabulary) for score, place in zip(*row, strict=True)]
        for row in zip(best.tolist(), index.tolist(), strict=True)
    ]


_NAN = "the network gave values that are no numbers (NaN); its weights or the picture are damaged"


@dataclass
class _Notes:
    """What is kept of each step, of all pictures at once."""

    k: int
    tokens: list[Tensor] = field(default_factory=list)
    chosen: list[Tensor] = field(default_factory=list)
    best: list[Tensor] = field(default_factory=list)
    best_chosen: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)

    def add(self, logits: Tensor, tokens: Tensor, attention: Tensor | None) -> None:
        """logits (batch, tokens, vocabulary) and the tokens (batch, tokens) that were taken."""
        steps = logits.float().log_softmax(-1)
        self.tokens.append(tokens)
        self.chosen.append(steps.gather(-1, tokens[..., None])[..., 0])
        values, indices = steps.topk(self.k)
        self.best.append(indices)
        self.best_chosen.append(values)
        self.look(attention)

    def look(self, attention: Tensor | None) -> None:
        if attention is not None:
            self.attention.append(attention)

    def decodings(self, captions: Sequence[tuple[int, ...]], stop: int, memory: Memory) -> list[Decoding]:
        """One for each picture, cut to its own length and its own patches."""
        chosen, best, values = (torch.cat(each, 1).cpu() for each in (self.chosen, self.best, self.best_chosen))
        if chosen.isnan().any():
            raise NetworkError(_NAN)
        attention = torch.cat(self.attention, dim=3).cpu() if self.attention else None
        return [
            Decoding(
                caption,
                chosen[index, : len(caption)].clone(),
                best[index, : len(caption)].clone(),
                values[index, : len(caption)].clone(),
                None if attention is None else _own(attention[:, index, :, : len(caption) + 1], memory, index),
                caption[-1] == stop,
            )
            for index, caption in enumerate(captions)
        ]


def _own(attention: Tensor, memory: Memory, index: int) -> Tensor:
    """(layers, heads, tokens, patches) → (layers, heads, tokens, rows, columns) of the picture without its padding."""
    rows, columns = memory.own[index]
    return attention.unflatten(-1, (memory.rows, memory.columns))[..., :rows, :columns].clone()


def _until(tokens: Iterable[int], stop: int) -> tuple[int, ...]:
    """The tokens up to the first stop, which is kept."""
    kept: list[int] = []
    for token in tokens:
        kept.append(token)
        if token == stop:
            break
    return tuple(kept)


def _check(module: CaptionModule, limit: int | None, alternatives: int) -> int:
    limit = module.limit if limit is None else limit
    if not 1 <= limit <= module.limit:
        raise UsageError(f"a length limit of {limit} tokens is out of range; it goes from 1 to {module.limit}")
    if not 0 <= alternatives <= module.vocabulary:
        raise UsageError(f"{alternatives} alternatives are out of range; there may be 0 to {module.vocabulary}")
    return limit


def _check_captions(module: CaptionModule, memory: Memory, captions: Sequence[Sequence[int]]) -> None:
    if len(captions) != memory.pictures:
        raise UsageError(f"{len(captions)} captions came for {memory.pictures} pictures; give one for each")
    for index, caption in enumerate(captions):
        if not 1 <= len(caption) <= module.limit:
            raise UsageError(
                f"caption {index} has {len(caption)} tokens; there may be 1 to {module.limit}, the stop among them"
            )
        wrong = [token for token in caption if not 0 <= token < module.vocabulary]
        if wrong:
            raise UsageError(f"caption {index} has the token {wrong[0]}; they go from 0 to {module.vocabulary - 1}")
