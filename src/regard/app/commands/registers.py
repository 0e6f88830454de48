"""`regard registers`: artifact tokens found, repaired without training, and the repair put to the test."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from regard.app.console import progress
from regard.app.report import thumbnails
from regard.app.seen import scored_part
from regard.data.dataset import Dataset, skipper
from regard.data.hashes import picture_hashes
from regard.data.layouts import read
from regard.data.regions import regions_of
from regard.errors import DataError, UsageError
from regard.explanation.artifacts import COUNTS, GONE, Artifacts, Repair, artifacts, find_repair, repaired
from regard.explanation.pictures.explain import heatmaps
from regard.files import check_free, new_folder, write_file, write_json
from regard.measurement.classification.noninferiority import NotWorse, not_worse
from regard.measurement.localisation.measures import Cover, on_object
from regard.measurement.localisation.pictures import BASELINES, localise
from regard.networks.attention.replay import token_blocks
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.predict import prepared, probabilities
from regard.networks.provenance import provenance
from regard.networks.run import save_network
from regard.records import Heatmap, Score
from regard.rendering.figures.canvas import png
from regard.rendering.figures.sheets import Column, comparison

log = logging.getLogger("regard")

SHOWN = 6
"""Pictures in the figure of before and after."""


@dataclass(frozen=True)
class Result:
    """What was found: the search with its trials, the artifacts before and after on pictures that it did not use, the
    test of the repair, and, where there are masks, how well CLS attention finds the object, by block."""

    verdict: str
    repair: Repair
    before: Artifacts
    after: Artifacts | None
    accuracy: NotWorse | None
    agreement: float | None
    localisation: dict[str, dict[str, Score]]
    out: Path | None


def registers(
    data: str | Path,
    out: str | Path | None = None,
    model: str | Path = "pets-tiny",
    weights: str | Path | None = None,
    masks: str | Path | None = None,
    search: int = 48,
    margin: float = 0.01,
    anyway: bool = False,
    split: str | None = None,
    size: int | None = None,
    device: str | None = None,
    batch_size: int = 16,
    workers: int = 2,
    seed: int = 0,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Result:
    """Find tokens with outlier norms, and move the neurons that make them to a register.

    The neurons are searched for in `search` pictures of DATA's training part, whose labels are not looked at; the
    repair is tested on `split` (by default `val`, else `test`), without pictures of the search or of the training.
    It is accepted where at most a fifth of the outliers is left and accuracy is not worse by more than `margin` (a
    share; the paired 95 % interval must show it). Written to `out` is a run with the repaired network, only where it
    was accepted or with `anyway`, with `registers.json` and the figure `before_after.png`. `masks` is a folder of
    masks under the pictures' names, white on the object.
    """
    if not 0 < margin < 1:
        raise UsageError(f"margin is {margin}; give a share between 0 and 1, such as 0.01 for one point of accuracy")
    if out is not None:
        check_free(out, overwrite)
    dataset = read(data, labels=False)
    network = load(model, weights=weights, size=size, device=device, seed=seed)
    searched, tested = _parts(dataset, model, split, search, seed)
    log.info(f"searching in {len(searched)} pictures, testing on {len(tested)} others")
    with progress("searching for neurons", len(COUNTS)) as advance:
        repair = find_repair(network, _batches(network, searched, batch_size, workers, skip_bad), advance)
    test = _batches(network, tested, batch_size, workers, skip_bad)
    before = artifacts(network, test)
    if not repair.neurons:
        verdict = "no outliers: nothing to repair" if repair.before.first is None else "no repair was found"
        return Result(verdict, repair, before, None, None, None, {}, None)
    mended = repaired(network, repair.edit)
    after = artifacts(mended, test, before.places)
    accuracy, agreement = _compared((network, mended), tested, margin, batch_size, workers)
    verdict, accepted = _verdict(before, after, accuracy)
    found = _localised((network, mended), tested, masks, batch_size, workers) if masks is not None else {}
    place = Path(out) if out is not None and (accepted or anyway) else None
    result = Result(verdict, repair, before, after, accuracy, agreement, found, place)
    if place is not None:
        _write(result, place, network, mended, tested, overwrite)
    return result


def _parts(dataset: Dataset, model: str | Path, split: str | None, search: int, seed: int) -> tuple[Dataset, Dataset]:
    """Pictures to search in, spread over the training part, and those to test on, none of them in both."""
    tested, note = scored_part(dataset, model, split, keep_seen=False)
    if note:
        raise DataError("all pictures to test on were seen in training; give others, or another --split")
    hashes = picture_hashes(dataset.pictures)
    kept = {hashes[name] for name in tested.names}
    rest = dataset.select(index for index, name in enumerate(dataset.names) if hashes[name] not in kept)
    if not len(rest):
        half = np.random.default_rng(seed).permutation(len(dataset))
        first = half[: min(search, len(dataset) // 2)]
        rest, tested = dataset.select(sorted(first)), dataset.select(sorted(set(range(len(dataset))) - set(first)))
    if not len(rest) or not len(tested):
        raise DataError(f"{len(dataset)} pictures are too few to search in some and test on others; give more")
    step = max(1, len(rest) // search)
    return rest.select(range(0, min(len(rest), step * search), step)), tested


def _batches(network: Network, part: Dataset, batch_size: int, workers: int, skip_bad: bool) -> list[torch.Tensor]:
    how = {"batch_size": batch_size, "workers": workers, "on_bad": skipper(skip_bad)}
    found = [pixels for _, pixels in prepared(network, part.pictures, **how)]  # type: ignore[arg-type]
    if not found:
        raise DataError("none of the pictures could be read")
    return found


def _compared(
    networks: tuple[Network, Network], tested: Dataset, margin: float, batch_size: int, workers: int
) -> tuple[NotWorse | None, float]:
    """Whether accuracy is not worse, where the labels are the network's; and how often both say the same."""
    first, second = (_predicted(each, tested, batch_size, workers) for each in networks)
    truth = _labels(networks[0], tested)
    known = truth >= 0
    right = [(said == truth)[known] for said in (first, second)]
    return not_worse(right[0], right[1], margin) if known.any() else None, float((first == second).mean())


def _predicted(network: Network, part: Dataset, batch_size: int, workers: int) -> NDArray[np.int64]:
    found = [
        values.argmax(1) for _, values in probabilities(network, part.pictures, batch_size=batch_size, workers=workers)
    ]
    return torch.cat(found).numpy()


def _labels(network: Network, part: Dataset) -> NDArray[np.int64]:
    """Indices of the network's classes, -1 for pictures whose label is none of them."""
    place = {name: index for index, name in enumerate(network.classes or ())}
    return np.array([place.get(str(picture.label), -1) for picture in part.pictures], np.int64)


def _verdict(before: Artifacts, after: Artifacts, accuracy: NotWorse | None) -> tuple[str, bool]:
    left = _left(before, after)
    if left > GONE:
        return f"not accepted: {left:.0%} of the outliers are left", False
    if accuracy is None:
        return "not decidable: the labels are not the network's classes, so its accuracy is not known", False
    n, points = accuracy.difference.n, accuracy.margin * 100
    if accuracy.answer == "yes":
        return f"accepted: accuracy is not worse by more than {points:g} points", True
    if accuracy.answer == "no":
        return f"not accepted: accuracy is worse by more than {points:g} points", False
    return (
        f"not decidable with {n} pictures: they could show a difference of {accuracy.smallest * 100:.1f} points at "
        f"best, not of {points:g}",
        False,
    )


def _left(before: Artifacts, after: Artifacts) -> float:
    """The share of outliers that is left, over the blocks from where they appear."""
    first = before.first if before.first is not None else len(before.blocks) - 1
    had = sum(block.share for block in before.blocks[first:])
    return sum(block.share for block in after.blocks[first:]) / had if had else 0.0


def _localised(
    networks: tuple[Network, Network], tested: Dataset, masks: str | Path, batch_size: int, workers: int
) -> dict[str, dict[str, Score]]:
    """CLS attention of each block against the masks, before and after, and two maps that need no network."""
    objects = _objects(networks[0], tested, masks)
    part = tested.select(objects)
    asked = [
        (f"{name}, block {block}", network, "attention", {"layer": block})
        for name, network in zip(("before", "after"), networks, strict=True)
        for block in range(len(token_blocks(network)))
    ]
    asked += [(name, networks[0], name, {}) for name in BASELINES]
    maps = {
        name: (
            heatmap.values
            for heatmap in heatmaps(network, part, method, settings, batch_size=batch_size, workers=workers)
        )
        for name, network, method, settings in asked
    }
    return localise(maps, list(objects.values()))


def _objects(network: Network, part: Dataset, masks: str | Path) -> dict[int, Cover]:
    """Which patches lie on the object, by the picture's index; pictures without a mask are left out and counted."""
    preparation = network.preparation
    rows, columns = network.anatomy.grid(preparation.height, preparation.width)
    regions = regions_of(masks)
    objects: dict[int, Cover] = {}
    for index, picture in enumerate(part.pictures):
        known = regions.find(picture.name)
        if known is not None:
            mask = known.mask(known.objects)
            objects[index] = on_object(mask, preparation.box((mask.shape[0], mask.shape[1])), rows, columns)
    if not objects:
        raise DataError(
            f"{masks} has no mask for any of the pictures; they must have the pictures' names and end in .png"
        )
    if len(objects) < len(part):
        log.warning(f"{len(part) - len(objects)} of {len(part)} pictures have no mask and are left out of localisation")
    return objects


def _write(result: Result, place: Path, network: Network, mended: Network, tested: Dataset, overwrite: bool) -> None:
    with new_folder(place, overwrite) as folder:
        write_json(folder / "registers.json", {**as_json(result), "provenance": provenance(network)})
        write_file(folder / "before_after.png", png(_figure(result, network, mended, tested)))
        save_network(mended, folder)


def _figure(result: Result, network: Network, mended: Network, tested: Dataset) -> Image.Image:
    """Some pictures, and CLS attention of the last blocks before and after."""
    some = tested.select(range(0, len(tested), max(1, len(tested) // SHOWN))).select(range(min(SHOWN, len(tested))))
    small = thumbnails(some, some.names)
    first = result.before.first or 0
    last = len(token_blocks(network)) - 1
    blocks = sorted({min(last, first + 1), min(last, first + 2), last})
    columns = [
        Column(f"block {block}, {name}", False, _maps(each, some, block))
        for block in blocks
        for name, each in (("before", network), ("after", mended))
    ]
    pictures = [(small[name], name) for name in some.names]
    moved = ", ".join(f"block {block} neuron {neuron}" for block, neuron in result.repair.neurons)
    return comparison(pictures, columns, caption=f"{network.name}: attention of CLS, mean over heads; moved: {moved}")


def _maps(network: Network, part: Dataset, block: int) -> list[Heatmap]:
    return list(heatmaps(network, part, "attention", {"layer": block}, workers=0))


def as_json(result: Result) -> dict[str, Any]:
    accuracy = result.accuracy
    return {
        "verdict": result.verdict,
        "out": None if result.out is None else str(result.out),
        "neurons": [list(each) for each in result.repair.neurons],
        "trials": [asdict(trial) for trial in result.repair.trials],
        "before": _described(result.before),
        "after": None if result.after is None else _described(result.after),
        "outliers_left": None if result.after is None else _left(result.before, result.after),
        "agreement": result.agreement,
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
            name: {each: score.as_json() for each, score in scores.items()}
            for name, scores in result.localisation.items()
        },
    }


def _described(found: Artifacts) -> dict[str, Any]:
    return {name: value for name, value in asdict(found).items() if name != "places"} | {"pictures": len(found.places)}


def as_text(result: Result) -> str:
    lines = [_block_table(result), *_localisation_table(result)]
    if result.repair.neurons:
        moved = ", ".join(f"{neuron} of block {block}" for block, neuron in result.repair.neurons)
        lines.append(
            f"neurons moved to a register: {moved}; same answer on {result.agreement or 0:.1%} of the pictures"
        )
    if result.accuracy is not None:
        lines.append(f"accuracy, after less before: {result.accuracy.difference}")
    lines.append(result.verdict)
    if result.out is not None:
        lines.append(f"written to {result.out}")
    return "\n".join(filter(None, lines))


def _block_table(result: Result) -> str:
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


def _localisation_table(result: Result) -> list[str]:
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
