"""`regard registers`: artifact tokens found, repaired without training, and the repair put to the test."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app.console import progress
from regard.app.options import (
    WORK,
    AnyModel,
    BatchSize,
    Data,
    Device,
    KeepSeen,
    MaxPixels,
    MaybeOut,
    Overwrite,
    Seed,
    Size,
    SkipBad,
    Split,
    Weights,
    WeightsPart,
    Workers,
    option,
)
from regard.data import MAX_PIXELS
from regard.errors import DataError, UsageError
from regard.files import check_free, new_folder, write_file, write_json

if TYPE_CHECKING:
    from PIL import Image

    from regard.audit.repair import RepairAudit
    from regard.data.dataset import Dataset
    from regard.networks.network import Network

log = logging.getLogger("regard")

SHOWN = 6
"""Pictures in the figure of before and after."""


def registers(
    data: Data,
    out: MaybeOut = None,
    model: AnyModel = "pets-tiny",
    weights: Weights = None,
    weights_part: WeightsPart = None,
    masks: Annotated[
        str | Path | None,
        option("Folder of masks under the pictures' names, white on the object.", type=Path | None),
    ] = None,
    search: Annotated[
        int,
        option("Pictures that neurons are searched for in, without labels.", min=1, panel=WORK),
    ] = 48,
    margin: Annotated[float, option("How much accuracy may fall, as a share, for a repair to be accepted.")] = 0.01,
    anyway: Annotated[bool, option("Write the repaired network even where it was not accepted.", "--anyway")] = False,
    split: Split = None,
    keep_seen: KeepSeen = False,
    size: Size = None,
    device: Device = None,
    batch_size: BatchSize = 16,
    workers: Workers = 2,
    seed: Seed = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
) -> "RepairAudit":
    """Find artifact tokens, repair the network without training, and test whether the repair holds.

    The neurons are searched for in `search` pictures of DATA's training part, whose labels are not looked at; the
    repair is tested on `split` (by default `val`, else `test`), without pictures of the search, nor of the training,
    but with `keep_seen`: then the verdict says that it is of pictures the network knows, where repairs look harmless.
    It is accepted where at most a fifth of the outliers is left and accuracy is not worse by more than `margin` (a
    share; the paired 95 % interval must show it). Written to `out` is a run with the repaired network, only where it
    was accepted or with `anyway`, with `registers.json` and the figure `before_after.png`. `masks` is a folder of masks
    under the pictures' names, white on the object.
    """
    from regard.data.layouts import read
    from regard.data.regions import regions_of
    from regard.measurement.selection import scored_part
    from regard.networks.arguments import check_arguments
    from regard.predictors.command_inputs import check_data

    check_data(data, "registers")
    if not 0 < margin < 1:
        raise UsageError(f"margin is {margin}; give a share between 0 and 1, such as 0.01 for one point of accuracy")
    if out is not None:
        check_free(out, overwrite)
    check_arguments(model, weights, weights_part)
    dataset = read(data, labels=False).up_to(max_pixels).check(split)
    regions = None if masks is None else regions_of(masks, max_pixels=max_pixels)
    # torch is imported when nothing else is wrong
    from regard.audit.repair import RepairSettings, audit_repair, search_and_test
    from regard.networks.load import load

    network = load(model, weights=weights, weights_part=weights_part, size=size, device=device, seed=seed)
    network.check_one_class("regard registers")
    tested, note = scored_part(dataset, model, split, keep_seen)
    if note and not keep_seen:
        raise DataError(
            "all pictures to test on were seen in training; give others, another --split, or --keep-seen to test on "
            "them"
        )
    searched, tested = search_and_test(dataset, tested, search, seed)
    log.info(f"searching in {len(searched)} pictures, testing on {len(tested)} others")
    settings = RepairSettings(margin, batch_size, workers, skip_bad)
    audit, edited = audit_repair(network, searched, tested, regions, settings, progress)
    if note:
        audit = replace(audit, verdict=f"{audit.verdict}, on pictures {note}")
    if out is None or edited is None or not (audit.accepted or anyway):
        return audit
    audit = replace(audit, out=Path(out))
    _write(audit, Path(out), (network, edited), tested, overwrite)
    return audit


def _write(
    audit: "RepairAudit", out: Path, networks: "tuple[Network, Network]", tested: "Dataset", overwrite: bool
) -> None:
    """The run with the repaired network, the audit and the figure; `networks` are those before and after."""
    from regard.networks.provenance import provenance
    from regard.networks.run import save_network
    from regard.rendering.figures.canvas import png

    with new_folder(out, overwrite) as folder:
        write_json(folder / "registers.json", {**as_json(audit), "provenance": provenance(networks[0])})
        write_file(folder / "before_after.png", png(_figure(audit, networks, tested)))
        save_network(networks[1], folder)


def _figure(audit: "RepairAudit", networks: "tuple[Network, Network]", tested: "Dataset") -> "Image.Image":
    """Some pictures, and CLS attention of the last blocks before and after."""
    from regard.data.images.thumbnails import thumbnails
    from regard.explanation.pictures.explain import heatmaps
    from regard.rendering.figures.sheets import Column, comparison

    some = tested.select(range(0, len(tested), max(1, len(tested) // SHOWN))).select(range(min(SHOWN, len(tested))))
    small = thumbnails(some, some.names)
    first = audit.before.first or 0
    last = len(audit.before.blocks) - 1
    columns = [
        Column(f"block {block}, {name}", False, list(heatmaps(network, some, "attention", {"layer": block}, workers=0)))
        for block in sorted({min(last, first + 1), min(last, first + 2), last})
        for name, network in zip(("before", "after"), networks, strict=True)
    ]
    pictures = [(small[name], name) for name in some.names]
    moved = ", ".join(f"block {block} neuron {neuron}" for block, neuron in audit.repair.neurons)
    caption = f"{networks[0].name}: attention of CLS, mean over heads; moved: {moved}"
    return comparison(pictures, columns, caption=caption)


def as_json(result: "RepairAudit") -> dict[str, Any]:
    return result.as_json()


def as_text(result: "RepairAudit") -> str:
    return result.text
