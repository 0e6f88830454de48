"""Some pictures of an audit, with all that its parts need of them and what they measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.audit.pictures.methods import AuditedMethod
from regard.audit.pictures.outside import Array, MapBatch
from regard.audit.settings import AuditSettings
from regard.data.dataset import Dataset
from regard.data.images.preparation import Batch, read_pixels
from regard.data.regions import Regions
from regard.errors import DataError
from regard.measurement.faithfulness.curves import on_grid
from regard.measurement.localisation.objects import InputMasks, input_masks
from regard.measurement.reliance.compositing import as_shown, background_alone
from regard.networks.cells import cells
from regard.networks.network import Network

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Key = tuple[str, str, str]
"""What a number is of: measure, subject, condition."""


@dataclass(frozen=True)
class Plan:
    """What is measured of which pictures: the same for all chunks.

    `labels` (pictures,) are indices into the network's classes, -1 where there is none; `donors` (pictures,) say by
    the names of swaps which picture lends its background, -1 for none, and `others` which one its patches. `few`
    (pictures,) marks those on which occluders are tried and pixels taken away. `occluders` has the one of the primary
    measure first. `planted` (pictures,) are those for an adversary and a ceiling. `repaired` is the network without its
    artifact tokens, `searched` (pictures,) those that this was found with.
    """

    network: Network
    methods: Sequence[AuditedMethod]
    pictures: Dataset
    settings: AuditSettings
    labels: Ints
    regions: Regions | None
    donors: Mapping[str, Ints]
    others: Ints
    few: Bools
    occluders: tuple[str, ...]
    classes: int
    planted: Bools
    repaired: Network | None = None
    searched: Bools | None = None

    def read(self, indices: Sequence[int]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Pictures (batch, 3, height, width) in [0, 1] as the network is shown them, and their upright sizes."""
        return _inputs([
            read_pixels(self.pictures.pictures[index].opener, self.network.preparation) for index in indices
        ])  # fmt: skip

    def readable(self, index: int) -> tuple[NDArray[Any], tuple[int, int]] | None:
        """A picture of another chunk, with its upright size; None for one that cannot be read and is skipped."""
        try:
            return read_pixels(self.pictures.pictures[index].opener, self.network.preparation)
        except DataError:
            if self.settings.skip_bad:
                return None
            raise

    def masks(self, indices: Sequence[int], sizes: Sequence[tuple[int, int]]) -> InputMasks:
        """Where the objects of these pictures are."""
        rows = [self.pictures.pictures[index] for index in indices]
        assert self.regions is not None
        return input_masks(self.regions, rows, sizes, self.network.preparation)


@dataclass
class Chunk:
    """Pictures, by their `indices` in the plan's, as the network takes them and as it is shown them, and what is
    predicted of them; the parts add `numbers` (batch,), NaN where there is none, the `changed` predictions (batch,) by
    what was changed, -1 where nothing was, and `curves` (batch, 2, points) by method and occluder."""

    plan: Plan
    indices: list[int]
    batch: MapBatch
    visible: Tensor
    probabilities: NDArray[np.float32]
    masks: InputMasks | None = None
    numbers: dict[Key, Floats] = field(default_factory=dict)
    changed: dict[str, Ints] = field(default_factory=dict)
    curves: dict[tuple[str, str], Floats] = field(default_factory=dict)
    failures: dict[str, dict[int, str]] = field(default_factory=dict)
    maps: dict[str, list[Array | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, batch: Batch, pixels: Tensor, start: int) -> "Chunk":
        """Some pictures as they were read, with their predictions, masks and maps."""
        indices = [start + index for index in batch.indices]
        rows = [plan.pictures.pictures[index] for index in indices]
        network = plan.network
        probabilities = network.probabilities(network.logits(pixels).float()).cpu().numpy()
        targets = tuple(map(int, probabilities.argmax(axis=1)))
        maps = MapBatch(pixels, targets, tuple(row.name for row in rows), tuple(batch.sizes))
        chunk = cls(plan, indices, maps, as_shown(batch.pixels).to(network.device), probabilities)
        if plan.regions is not None:
            chunk.masks = plan.masks(indices, batch.sizes)
        for method in plan.methods:
            chunk.maps[method.name], failures = method.maps(maps)
            if failures:
                chunk.failures[method.name] = failures
        return chunk

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def targets(self) -> Ints:
        """(batch,): the class predicted for each whole picture."""
        return np.array(self.batch.targets, np.int64)

    @property
    def labels(self) -> Ints:
        """(batch,): the true classes, -1 where unknown."""
        return self.plan.labels[self.indices]

    @property
    def objects(self) -> Tensor:
        """(batch, height, width) bool: the masks, nowhere for pictures whose mask is no use."""
        assert self.masks is not None
        return torch.from_numpy(self.masks.masks & self.masks.usable[:, None, None]).to(self.visible.device)

    def stacked(self, names: Sequence[str]) -> Floats:
        """(methods, batch, rows, columns): the maps on the network's patches, zero where a method failed."""
        rows, columns = cells(self.plan.network, self.batch.pixels)
        blank = np.zeros((rows, columns))
        return np.stack([
            np.stack([blank if each is None else on_grid(each, rows, columns) for each in self.maps[name]])
            for name in names
        ])  # fmt: skip

    def valid(self, name: str) -> Bools:
        """(batch,): where a method did not fail."""
        return np.array([each is not None for each in self.maps[name]], bool)

    def add(self, measure: str, values: NDArray[Any], subject: str = "", condition: str = "") -> None:
        """Numbers (batch,) of a measure; those of a method that failed are left out."""
        values = np.asarray(values, np.float64)
        if subject in self.maps:
            values = np.where(self.valid(subject), values, np.nan)
        self.numbers[measure, subject, condition] = values

    def backgrounds(self, swap: str) -> tuple[Tensor, Bools]:
        """Backgrounds (batch, 3, height, width) lent by other pictures, whose own objects are filled, and which there
        are (batch,)."""
        donors = self.plan.donors[swap][self.indices]
        backgrounds = torch.zeros_like(self.visible)
        rows = [None if donor < 0 else self.plan.readable(donor) for donor in donors.tolist()]
        present = np.array([row is not None for row in rows], bool)
        if present.any():
            chosen = donors[present].tolist()
            pictures, sizes = _inputs([row for row in rows if row is not None])
            masks = torch.from_numpy(self.plan.masks(chosen, sizes).masks)
            backgrounds[torch.from_numpy(present)] = background_alone(pictures, masks).to(self.visible)
        return backgrounds, present

    def others(self) -> Tensor:
        """Another picture (batch, 3, height, width) for each, normalised; where that cannot be read, the next one."""
        rows = []
        for index in self.indices:
            other = int(self.plan.others[index])
            while (row := self.plan.readable(other)) is None:
                other = int(self.plan.others[other])  # all are in one ring, and this picture was read
            rows.append(row)
        pictures, _ = _inputs(rows)
        preparation = self.plan.network.preparation
        return preparation.normalise(pictures.permute(0, 2, 3, 1) * 255).to(self.batch.pixels)

    def entries(self) -> Iterator[dict[str, Any]]:
        """The line of each picture, as JSON."""
        for place, index in enumerate(self.indices):
            numbers = {"\x1f".join(key): float(values[place]) for key, values in self.numbers.items()}
            yield {
                "index": index,
                "predicted": self.batch.targets[place],
                "probabilities": [float(each) for each in self.probabilities[place]],
                "numbers": {key: value for key, value in numbers.items() if np.isfinite(value)},
                "changed": {name: int(values[place]) for name, values in self.changed.items()},
                "curves": {"\x1f".join(key): values[place].tolist() for key, values in self.curves.items()
                           if np.isfinite(values[place]).all()},
                "failures": {name: failed[place] for name, failed in self.failures.items() if place in failed},
                "mask": None if self.masks is None else self.masks.why[place],
            }  # fmt: skip


def _inputs(rows: Sequence[tuple[NDArray[Any], tuple[int, int]]]) -> tuple[Tensor, list[tuple[int, int]]]:
    pixels, sizes = zip(*rows, strict=True)
    return as_shown(torch.from_numpy(np.stack(pixels))), list(sizes)


def other_pictures(names: Sequence[str], seed: int) -> Ints:
    """(pictures,): for each another one, drawn from the seed; itself where it is alone."""
    order = np.random.default_rng(seed).permutation(len(names))
    others = np.empty(len(names), np.int64)
    others[order] = np.roll(order, 1)
    return others
