"""A repair of artifact tokens and its test: searched for in some pictures, and judged by others.

It is accepted where hardly any outliers are left and accuracy is shown not to be worse; where there are masks, what
CLS attention finds of the object is measured before and after.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regard.data.dataset import Dataset, skipper
from regard.data.hashes import picture_hashes
from regard.data.regions import Regions, upright_mask
from regard.errors import DataError
from regard.explanation.artifacts import COUNTS, GONE, Artifacts, Repair, artifacts, find_repair, repaired
from regard.explanation.pictures.explain import heatmaps
from regard.measurement.classification.noninferiority import NotWorse, not_worse
from regard.measurement.localisation.measures import Cover, on_object
from regard.measurement.localisation.pictures import BASELINES, localise
from regard.networks.attention.replay import token_blocks
from regard.networks.network import Network
from regard.networks.predict import prepared, probabilities
from regard.progress import Progress, silent
from regard.records import Score
from regard.records.display import Readable, few

log = logging.getLogger("regard")


@dataclass(frozen=True, repr=False)
class RepairAudit(Readable):
    """A search with its trials, the artifacts before and after on pictures that it did not use, the test of the repair,
    and, where there are masks, how well CLS attention finds the object, by block. `out` is where it was written."""

    verdict: str
    repair: Repair
    before: Artifacts
    after: Artifacts | None = None
    accuracy: NotWorse | None = None
    agreement: float | None = None
    localisation: dict[str, dict[str, Score]] = field(default_factory=dict)
    accepted: bool = False
    out: Path | None = None

    def __str__(self) -> str:
        return few([self.verdict, str(self.before), *([] if self.after is None else [f"after: {self.after}"])])

    @property
    def text(self) -> str:
        """All of it, as it is printed."""
        lines = [_block_table(self), *_localisation_table(self)]
        if self.repair.neurons:
            moved = ", ".join(f"{neuron} of block {block}" for block, neuron in self.repair.neurons)
            lines.append(
                f"neurons moved to a register: {moved}; same answer on {self.agreement or 0:.1%} of the pictures"
            )
        if self.accuracy is not None:
            lines.append(f"accuracy, after less before: {self.accuracy.difference}")
        lines.append(self.verdict)
        if self.out is not None:
            lines.append(f"written to {self.out}")
        return "\n".join(filter(None, lines))

    @property
    def outliers_left(self) -> float | None:
        """The share of outliers that is left, over the blocks from where they appear."""
        return None if self.after is None else _share_left(self.before, self.after)

    def as_json(self) -> dict[str, Any]:
        accuracy = self.accuracy
        return {
            "verdict": self.verdict,
            "out": None if self.out is None else str(self.out),
            "neurons": [list(each) for each in self.repair.neurons],
            "trials": [asdict(trial) for trial in self.repair.trials],
            "before": _artifacts_json(self.before),
            "after": None if self.after is None else _artifacts_json(self.after),
            "outliers_left": self.outliers_left,
            "agreement": self.agreement,
            "accuracy": None
            if accuracy is None
            else {
                "difference": accuracy.difference.as_json(),
                "n": accuracy.difference.n,
                "margin": accuracy.margin,
                "answer": accuracy.answer,
                "smallest_difference": accuracy.smallest,
            },
            "localisation": {
                name: {measure: score.as_json() for measure, score in scores.items()}
                for name, scores in self.localisation.items()
            },
        }


def _block_table(result: RepairAudit) -> str:
    """Outliers a picture, largest norm over the median, and the attention they take, by block."""
    rows = ["block  outliers a picture  largest / median norm  attention to their places"]
    for index, had in enumerate(result.before.blocks):
        both = [had] if result.after is None else [had, result.after.blocks[index]]
        cells = [
            " → ".join(f"{each.per_picture:.2f}" for each in both),
            " → ".join(f"{each.largest / each.median:.1f}" for each in both),
            " → ".join(f"{each.attention:.1%}" for each in both),
        ]
        rows.append(f"{index:>5}  {cells[0]:>18}  {cells[1]:>21}  {cells[2]:>25}")
    return "\n".join(rows)


def _localisation_table(result: RepairAudit) -> list[str]:
    if not result.localisation:
        return []
    columns = {
        "AUC": "auc",
        "AUC less that of the centre": "auc_over_centre",
        "peak on the object": "peak_on_object",
        "peak, object off centre": "peak_away_from_centre",
    }
    rows = ["  ".join([f"{'map':<16}", *(f"{title:<27}" for title in columns)])]
    for name, scores in result.localisation.items():
        rows.append("  ".join([f"{name:<16}", *(f"{scores[key]!s:<27}" for key in columns.values())]))
    return rows


def _artifacts_json(measured: Artifacts) -> dict[str, Any]:
    return {name: value for name, value in asdict(measured).items() if name != "places"} | {
        "pictures": len(measured.places)
    }


@dataclass(frozen=True)
class RepairSettings:
    """`margin`, a share, is by how much accuracy may not be worse; the rest says how pictures are read."""

    margin: float = 0.01
    batch_size: int = 16
    workers: int = 2
    skip_bad: bool = False


def search_and_test(dataset: Dataset, tested: Dataset, search: int, seed: int) -> tuple[Dataset, Dataset]:
    """Pictures to search in, at most `search` of them spread over those that are not `tested`, and those to test on.

    Where all are tested, some of them are drawn from the seed. No picture is in both, under another name neither.
    Raises `DataError` for too few.
    """
    hashes = picture_hashes(dataset.pictures)
    held_out = {hashes[name] for name in tested.names}
    rest = dataset.select(index for index, name in enumerate(dataset.names) if hashes[name] not in held_out)
    if not len(rest):
        order = np.random.default_rng(seed).permutation(len(dataset))
        first = order[: min(search, len(dataset) // 2)]
        rest = dataset.select(sorted(first))
        tested = dataset.select(sorted(set(range(len(dataset))) - set(first)))
    if not len(rest) or not len(tested):
        raise DataError(f"{len(dataset)} pictures are too few to search in some and test on others; give more")
    step = max(1, len(rest) // search)
    return rest.select(range(0, min(len(rest), step * search), step)), tested


def audit_repair(
    network: Network,
    searched: Dataset,
    tested: Dataset,
    regions: Regions | None = None,
    settings: RepairSettings | None = None,
    progress: Progress = silent,
) -> tuple[RepairAudit, Network | None]:
    """Search for a repair in some pictures and test it on others; the repaired network where there is one.

    The labels of `searched` are not looked at. `regions` say where the object of each tested picture is. The network
    itself is not changed. Raises `NetworkError` for one that no token can be added to.
    """
    settings = settings or RepairSettings()
    with progress("searching for neurons", len(COUNTS)) as advance:
        repair = find_repair(network, _batches(network, searched, settings), advance)
    batches = _batches(network, tested, settings)
    before = artifacts(network, batches)
    if not repair.neurons:
        verdict = "no outliers: nothing to repair" if repair.before.first is None else "no repair was found"
        return RepairAudit(verdict, repair, before), None
    edited = repaired(network, repair.edit)
    after = artifacts(edited, batches, before.places)
    reading: dict[str, Any] = {"batch_size": settings.batch_size, "workers": settings.workers}
    first, second = (
        torch.cat([values.argmax(1) for _, values in probabilities(each, tested.pictures, **reading)]).numpy()
        for each in (network, edited)
    )  # each (pictures,): class indices
    accuracy = _accuracy(network, tested, (first, second), settings.margin)
    verdict, accepted = _verdict(_share_left(before, after), accuracy)
    scores = {} if regions is None else _localisation((network, edited), tested, regions, settings)
    agreement = float((first == second).mean())
    return RepairAudit(verdict, repair, before, after, accuracy, agreement, scores, accepted), edited


def _batches(network: Network, part: Dataset, settings: RepairSettings) -> list[torch.Tensor]:
    """The pictures as the network takes them, each (n, 3, height, width)."""
    stream = prepared(
        network,
        part.pictures,
        batch_size=settings.batch_size,
        workers=settings.workers,
        on_bad=skipper(settings.skip_bad),
    )
    batches = [pixels for _, pixels in stream]
    if not batches:
        raise DataError("none of the pictures could be read")
    return batches


def _accuracy(
    network: Network, part: Dataset, predictions: tuple[NDArray[np.int64], NDArray[np.int64]], margin: float
) -> NotWorse | None:
    """Whether accuracy is not worse, where there are labels of the network's classes."""
    index = {name: at for at, name in enumerate(network.classes or ())}
    truth = np.array([index.get(str(picture.label), -1) for picture in part.pictures], np.int64)
    labelled = truth >= 0
    before, after = ((each == truth)[labelled] for each in predictions)
    return not_worse(before, after, margin) if labelled.any() else None


def _share_left(before: Artifacts, after: Artifacts) -> float:
    first = before.first if before.first is not None else len(before.blocks) - 1
    had = sum(block.share for block in before.blocks[first:])
    return sum(block.share for block in after.blocks[first:]) / had if had else 0.0


def _verdict(left: float, accuracy: NotWorse | None) -> tuple[str, bool]:
    """What is to be said, and whether the repair is accepted."""
    if left > GONE:
        return f"not accepted: {left:.0%} of the outliers are left", False
    if accuracy is None:
        return "not decidable: the labels are not the network's classes, so its accuracy is not known", False
    n = accuracy.difference.n
    points = accuracy.margin * 100
    if accuracy.answer == "yes":
        return f"accepted: accuracy is not worse by more than {points:g} points", True
    if accuracy.answer == "no":
        return f"not accepted: accuracy is worse by more than {points:g} points", False
    return (
        f"not decidable with {n} pictures: they could show a difference of {accuracy.smallest * 100:.1f} points at "
        f"best, not of {points:g}",
        False,
    )


def _localisation(
    networks: tuple[Network, Network], tested: Dataset, regions: Regions, settings: RepairSettings
) -> dict[str, dict[str, Score]]:
    """CLS attention of each block against the masks, before and after, and two maps that need no network."""
    objects = _objects(networks[0], tested, regions)
    part = tested.select(objects)

    def maps_of(network: Network, method: str, **options: Any) -> Iterator[NDArray[np.float32]]:
        stream = heatmaps(network, part, method, options, batch_size=settings.batch_size, workers=settings.workers)
        return (heatmap.values for heatmap in stream)

    maps = {
        f"{name}, block {block}": maps_of(network, "attention", layer=block)
        for name, network in zip(("before", "after"), networks, strict=True)
        for block in range(len(token_blocks(network)))
    }
    maps |= {name: maps_of(networks[0], name) for name in BASELINES}
    return localise(maps, list(objects.values()))


def _objects(network: Network, part: Dataset, regions: Regions) -> dict[int, Cover]:
    """Which patches lie on the object, by the picture's index; pictures without a mask are left out and counted."""
    preparation = network.preparation
    rows, columns = network.anatomy.grid(preparation.height, preparation.width)
    objects: dict[int, Cover] = {}
    for index, picture in enumerate(part.pictures):
        picture_regions = regions.find(picture.name)
        if picture_regions is not None:
            mask = upright_mask(picture_regions.mask(picture_regions.objects), picture.opener)
            objects[index] = on_object(mask, preparation.box((mask.shape[0], mask.shape[1])), rows, columns)
    if not objects:
        raise DataError(
            f"{regions.name} has no mask for any of the pictures; they must have the pictures' names and end in .png"
        )
    if len(objects) < len(part):
        log.warning(f"{len(part) - len(objects)} of {len(part)} pictures have no mask and are left out of localisation")
    return objects
