"""What the frozen blocks give of each picture, computed once: as it is, and in a few random views.

A search trains the last blocks of a network many times. What goes into the first of them is always the same but for
the random changes of the pictures, of which some views do for all epochs, folds and candidates.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.data.dataset import Dataset
from regard.data.images.augment import Augmentation, Pixels, draw, generator, read_augmented
from regard.data.images.preparation import in_order
from regard.data.openers import announced
from regard.networks.attention.replay import from_block, token_blocks, tokens_before
from regard.networks.network import Network, logits_of
from regard.training.folder import CHECKPOINTS
from regard.training.journal import Progress
from regard.training.loader import Batch, Loader
from regard.training.session import Session
from regard.training.tasks.features import FeatureStore

VIEWS = 5
"""Random views of each picture; epochs take them in turn."""
LARGEST = 2 << 30
"""Bytes that the views of all pictures may take; with more pictures, or larger networks, there are fewer of them."""
CHUNK = 32
"""Pictures at a time; a part of one is never taken from the store, as other batches give other last bits."""


@dataclass(frozen=True)
class Views:
    """Tokens (1 + views, pictures, ...) bfloat16 that go into block number `block`: of the pictures as they are, then
    of each view."""

    block: int
    tokens: Tensor

    @contextmanager
    def entering(self, network: Network) -> Iterator[None]:
        """Inside, the module takes these tokens in the place of pictures."""
        preparation = network.preparation
        like = torch.zeros(1, preparation.channels, preparation.height, preparation.width, device=network.device)
        with from_block(network, like, self.block):
            yield

    def logits(self, network: Network, indices: Sequence[int] | NDArray[np.int64], precision: str) -> Tensor:
        """(pictures, classes) float32 on the CPU, of pictures as they are; to be called inside `entering`."""
        parts = []
        with network.borrow(), torch.no_grad():
            for places in torch.as_tensor(np.asarray(indices)).split(CHUNK):
                tokens = self.tokens[0, places].to(network.device).float()
                with torch.autocast(network.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    parts.append(logits_of(network.module(tokens)).float().cpu())
        return torch.cat(parts) if parts else torch.zeros(0, network.outputs)


@dataclass(frozen=True)
class ViewLoader(Loader):
    """Tokens of views in the place of pictures; `rows` (pictures,) are the loader's among those of the views."""

    views: Views | None = None
    rows: NDArray[np.int64] | None = None

    def _read(self, job: tuple[int, int]) -> Any:
        assert self.views is not None and self.rows is not None
        epoch, index = job
        view = 1 + epoch % (len(self.views.tokens) - 1)
        target = self.objective.target(index, epoch, draw(Augmentation(), generator(0, epoch, index)))
        return self.views.tokens[view, self.rows[index]], target

    def _batch(self, samples: Any, rows: Sequence[tuple[int, int]], last: bool) -> Batch:
        tokens, targets = zip(*samples, strict=True)
        counts = torch.tensor([count for _, count in rows], dtype=torch.float32)
        return Batch(torch.stack(tokens), torch.zeros(len(rows), 2), self.objective.collate(targets), counts, last)

    def inputs(self, batch: Batch, device: torch.device) -> tuple[Tensor, ...]:
        """What goes into the first open block (n, ...)."""
        return (batch.pixels.to(device, non_blocking=True).float(),)


def views_for(network: Network, pictures: int, open_layers: int | None, epochs: int) -> tuple[int, int] | None:
    """(block, views) for a training of the last `open_layers` blocks, or None where nothing is gained or known."""
    blocks = token_blocks(network)
    if open_layers is None or not len(blocks) - open_layers > 0:
        return None
    block = len(blocks) - open_layers
    size = _shape(network, block).numel() * 2 * pictures
    views = min(VIEWS, epochs, LARGEST // max(1, size) - 1)
    return (block, views) if views >= min(2, epochs) else None


def _shape(network: Network, block: int) -> torch.Size:
    """Of the tokens of one picture."""
    preparation = network.preparation
    blank = torch.zeros(1, preparation.channels, preparation.height, preparation.width, device=network.device)
    return tokens_before(network, blank, block).shape[1:]


def compute_views(
    network: Network, part: Dataset, session: Session, augmentation: Augmentation, precision: str, plan: tuple[int, int]
) -> Views:
    """The views of a part's pictures, `plan` being (block, views); what a stopped training had is taken from its store.

    Raises `DataError` naming a picture that cannot be read, and `InterruptedTrainingError` after Ctrl-C.
    """
    block, count = plan
    world = session.world
    store = FeatureStore(session.checkpoints.folder / CHECKPOINTS / "views.sqlite", "<i2") if world.main else None
    jobs = [(view, index) for view in range(count + 1) for index in range(len(part))]
    shape = _shape(network, block)
    tokens = torch.empty(len(jobs), *shape, dtype=torch.bfloat16)
    step = CHUNK * world.size
    done = 0
    while (values := world.shared(_stored(store, jobs[done : done + step], part, shape))) is not None:
        tokens[done : done + len(values)] = values
        done += len(values)
    todo = [job for start in range(done, len(jobs), step) for job in _share(jobs[start : start + step], session)]
    with closing(_pixels(network, part, todo, session, augmentation)) as pixels:
        for start in range(done, len(jobs), step):
            chunk = jobs[start : start + step]
            values = torch.zeros(len(chunk), *shape, dtype=torch.bfloat16)
            if part_of_chunk := _share(chunk, session):
                batch = torch.from_numpy(np.stack([next(pixels) for _ in part_of_chunk])).to(world.device)
                with torch.autocast(world.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    computed = tokens_before(network, network.preparation.normalise(batch), block)
                first = world.rank * CHUNK
                values[first : first + len(part_of_chunk)] = computed.to("cpu", torch.bfloat16)
            values = world.total(values.to(world.device)).cpu()
            tokens[start : start + len(chunk)] = values
            if store is not None:
                store.write(zip(_names(chunk, part), values.view(torch.int16).numpy(), strict=True))
            session.journal.progress(Progress("views", start + len(chunk), len(jobs)))
            if world.shared(session.stop.pending):
                session.checkpoints.save(session.journal.rows)
                raise session.interrupt("views")
    if store is not None and store.broken:
        session.journal.message(f"views could not be kept in {store.path.name} ({store.broken}); they are in memory")
    return Views(block, tokens.view(count + 1, len(part), *shape))


def _share(chunk: Sequence[tuple[int, int]], session: Session) -> Sequence[tuple[int, int]]:
    """This process's part of what all processes do at a time."""
    first = session.world.rank * CHUNK
    return chunk[first : first + CHUNK]


def _names(chunk: Sequence[tuple[int, int]], part: Dataset) -> list[str]:
    return [f"{part.pictures[index].split}/{view}/{index}" for view, index in chunk]


def _stored(
    store: FeatureStore | None, chunk: Sequence[tuple[int, int]], part: Dataset, shape: torch.Size
) -> Tensor | None:
    """(jobs, ...) tokens of a chunk that is there as a whole; they were written in order."""
    if store is None or not chunk:
        return None
    names = _names(chunk, part)
    rows = store.read(names)
    if len(rows) < len(names) or any(row.size != shape.numel() for row in rows.values()):
        return None
    values = torch.from_numpy(np.stack([rows[name] for name in names]).astype(np.int16))
    return values.view(torch.bfloat16).view(len(names), *shape)


def _pixels(
    network: Network, part: Dataset, jobs: Sequence[tuple[int, int]], session: Session, augmentation: Augmentation
) -> Generator[Pixels, None, None]:
    """(height, width, 3) uint8 of each (view, index), in order."""

    def read(job: tuple[int, int]) -> Pixels:
        view, index = job
        how = augmentation if view else Augmentation()
        changes = draw(how, generator(session.seed, view, index))
        return read_augmented(part.pictures[index].opener, network.preparation, how, changes)

    ahead = announced(jobs, lambda job: part.pictures[job[1]].opener)
    return in_order(read, ahead, session.workers, 2 * CHUNK)
