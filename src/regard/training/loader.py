"""Training pictures in their order, changed at random, read ahead by threads: all a function of seed, epoch and index.

Threads rather than processes: decoding, resizing and Pillow's changes release Python's lock, nothing is copied between
processes, and there is nothing to start, so it works alike on Linux, macOS and Windows.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.random import default_rng
from numpy.typing import NDArray
from torch import Tensor

from regard.data.dataset import Picture
from regard.data.images.augment import Augmentation, Changes, Pixels, draw, generator, read_augmented
from regard.data.images.longest_side import LongestSide
from regard.data.images.mixing import Mixing, draw_mix
from regard.data.images.preparation import Preparation, in_order
from regard.data.openers import announced
from regard.data.order import BlockOrder, runs_of
from regard.errors import DataError, RegardError, UsageError
from regard.training.objectives import Objective
from regard.training.parallel.ranks import VirtualRanks
from regard.training.processes import ALONE, World

Sample = tuple[Pixels, NDArray[Any]]
"""A picture as its epoch has it, and its target."""

MIX = 0x3117  # keeps the numbers that mix pictures apart from those that change them
ORDER = 0x0DE5  # keeps the numbers that order pictures apart from those that change them


@dataclass(frozen=True)
class Batch:
    """This process's part of a batch: `pixels` (n, height, width, 3) uint8, with zeros beyond a picture's own of
    `sizes` (n, 2); their `targets`; and `counts` (n,), 1 or, for a picture that only keeps this process in step with
    the others, 0. `last` in its step: now the weights move."""

    pixels: Tensor
    sizes: Tensor
    targets: Tensor
    counts: Tensor
    last: bool


@dataclass(frozen=True)
class Step:
    """The batches of one step of the optimiser, and the indices of all its pictures over all processes.

    `shares` are the rank (virtual, where there are such) and the indices of each of the batches.
    """

    epoch: int
    number: int
    indices: NDArray[np.int64]
    batches: list[Batch]
    shares: list[tuple[int, list[int]]]


@dataclass(frozen=True)
class _Plan:
    """A step before its pictures are read: `rows` are this process's (index, count) for each batch, `ranks` whose."""

    epoch: int
    number: int
    indices: NDArray[np.int64]
    rows: list[list[tuple[int, int]]]
    ranks: list[int]


def check_processes(world: World, batch_size: int, pictures: int) -> None:
    """Raise `UsageError` for more processes than pictures in a batch, or at all."""
    most = min(batch_size, pictures)
    if world.size > most:
        raise UsageError(
            f"{world.size} processes for batches of {batch_size} out of {pictures} pictures: some would have nothing "
            f"to do; start at most {most}"
        )


@dataclass(frozen=True)
class Loader:
    """Pictures to train on, `batch_size` at a time over all processes, `accumulate` such batches a step."""

    pictures: Sequence[Picture]
    objective: Objective
    preparation: Preparation | LongestSide
    augmentation: Augmentation
    batch_size: int
    accumulate: int = 1
    seed: int = 0
    workers: int = 2
    world: World = ALONE
    ranks: VirtualRanks | None = None
    mixing: Mixing | None = None

    def __post_init__(self) -> None:
        check_processes(self.world, self.batch_size, len(self.pictures))

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return -(-len(self.pictures) // (self.batch_size * self.accumulate))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The pictures' order in an epoch: a function of the seed and the epoch.

        Those that lie in shards are mixed so that these are read nearly in sequence: see `regard.data.order`.
        """
        if self._runs is not None:
            pictures, sizes = self._runs
            return pictures[BlockOrder(sizes, self.seed, epoch).indices()]
        return default_rng((self.seed, epoch, ORDER)).permutation(len(self.pictures))

    @cached_property
    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The pictures by the runs of their shards that are read together, and how many each has; None without."""
        blocks = [getattr(picture.opener, "block", None) for picture in self.pictures]
        return None if None in blocks else runs_of(blocks)

    def steps(self, epochs: int, epoch: int = 0, number: int = 0) -> Generator[Step, None, None]:
        """All steps from this epoch and step on, read ahead across the ends of epochs. Closing it stops the threads.

        Raises `DataError` naming a picture that cannot be read, whatever went wrong in its thread.
        """
        # The order is planned twice: the threads run ahead of the loop through one copy, the loop follows in the other.
        ahead = self._plans(epochs, epoch, number)
        jobs = ((plan.epoch, index) for plan in ahead for rows in plan.rows for index, _ in rows)
        depth = 2 * -(-self.batch_size // self.world.size)
        ahead_of_all = announced(jobs, lambda job: self.pictures[job[1]].opener)
        with closing(in_order(self._read, ahead_of_all, self.workers, depth)) as samples:
            for plan in self._plans(epochs, epoch, number):
                batches = []
                for rows in plan.rows:
                    read = [next(samples) for _ in rows]
                    for sample in read:
                        if isinstance(sample, RegardError):
                            raise sample
                    batches.append(self._batch(read, rows, last=rows is plan.rows[-1]))  # type: ignore[arg-type]
                shares = [
                    (rank, [index for index, _ in rows]) for rank, rows in zip(plan.ranks, plan.rows, strict=True)
                ]
                yield Step(plan.epoch, plan.number, plan.indices, batches, shares)

    def _plans(self, epochs: int, epoch: int, number: int) -> Iterator[_Plan]:
        span = self.batch_size * self.accumulate
        for current in range(epoch, epochs):
            order = self.order(current)
            for start in range(number * span, len(order), span):
                indices = order[start : start + span]
                parts = [indices[first : first + self.batch_size] for first in range(0, len(indices), self.batch_size)]
                shares = [share for part in parts for share in self._shares(part)]
                rows = [list(rows) for _, rows in shares]
                yield _Plan(current, start // span, indices, rows, [rank for rank, _ in shares])
            number = 0  # only the first epoch of a resumed training begins in its middle

    def _shares(self, part: NDArray[np.int64]) -> list[tuple[int, list[tuple[int, int]]]]:
        """This process's pictures of a batch, by rank; where none is left for it, the first, counting nothing.

        Of virtual ranks it may have several, and those without a picture are left out.
        """
        if self.ranks is not None:
            parts = [(rank, part[rank :: self.ranks.count]) for rank in self.ranks.indices]
            return [(rank, [(int(index), 1) for index in share]) for rank, share in parts if len(share)]
        share = part[self.world.rank :: self.world.size]
        return [(self.world.rank, [(int(index), 1) for index in share] or [(int(part[0]), 0)])]

    def inputs(self, batch: Batch, device: torch.device) -> tuple[Tensor, ...]:
        """What the network takes: normalised pictures (n, 3, height, width), and, where their sizes may differ, the
        mask of what is beyond them (n, height, width) bool."""
        pixels = batch.pixels.to(device, non_blocking=True)
        if isinstance(self.preparation, Preparation):
            return (self.preparation.normalise(pixels),)
        return self.preparation.padded(pixels, batch.sizes.to(device))

    def _read(self, job: tuple[int, int]) -> Sample | RegardError:
        """One sample; an error comes back as a value, to be raised where the loop is and not in a thread."""
        epoch, index = job
        opener = self.pictures[index].opener
        try:
            pixels, target = self._sample(index, epoch)
            if self.mixing is None:
                return pixels, target
            partner = self.partner(index, epoch)
            opener = self.pictures[partner].opener
            mix = draw_mix(self.mixing, pixels.shape[:2], default_rng((self.seed, epoch, index, MIX)))
            other, taught = self._sample(partner, epoch)
            return mix.pixels(pixels, other), self.objective.mixed(target, taught, mix.share)
        except RegardError as error:
            return error
        except Exception as error:
            return DataError(
                f"the thread that read {opener} died ({type(error).__name__}: {error}); the last checkpoint is kept: "
                "see to the file and go on with --resume"
            )

    def _sample(self, index: int, epoch: int) -> Sample:
        changes = draw(self.augmentation, generator(self.seed, epoch, index))
        return self.pixels(index, epoch, changes), self.objective.target(index, epoch, changes)

    def partner(self, index: int, epoch: int) -> int:
        """The picture that one is mixed with: the next in the epoch's order, as changed as it is by itself.

        So each is a partner once an epoch, and those of a shard are read together. The last takes the first.
        """
        if (following := self._following.get(epoch)) is None:
            order = self.order(epoch)
            following = np.empty_like(order)
            following[order] = np.roll(order, -1)
            for old in [each for each in self._following if each < epoch - 1]:
                self._following.pop(old, None)
            self._following[epoch] = following
        return int(following[index])

    @cached_property
    def _following(self) -> dict[int, NDArray[np.int64]]:
        """(pictures,) the next of each, by epoch: the present one and the one that is read ahead."""
        return {}

    def pixels(self, index: int, epoch: int, changes: Changes) -> Pixels:
        """A picture as its epoch has it."""
        return read_augmented(self.pictures[index].opener, self.preparation, self.augmentation, changes)

    def _batch(self, samples: Sequence[Sample], rows: Sequence[tuple[int, int]], last: bool) -> Batch:
        pixels, targets = zip(*samples, strict=True)
        counts = torch.tensor([count for _, count in rows], dtype=torch.float32)
        sizes = torch.tensor([each.shape[:2] for each in pixels])  # (n, 2)
        return Batch(torch.from_numpy(_stack(pixels)), sizes, self.objective.collate(targets), counts, last)


def _stack(pictures: Sequence[Pixels]) -> Pixels:
    """(n, height, width, 3): smaller ones are filled up with zeros at the right and bottom."""
    shapes = {picture.shape for picture in pictures}
    if len(shapes) == 1:
        return np.stack(pictures)
    whole = np.zeros((len(pictures), *np.max([picture.shape for picture in pictures], axis=0)), np.uint8)
    for place, picture in enumerate(pictures):
        whole[place, : picture.shape[0], : picture.shape[1]] = picture
    return whole
