"""What is measured of which pictures: methods, controls, donors of backgrounds, and what is left out."""

from dataclasses import replace
from functools import partial

import numpy as np

from regard.audit.pictures.chunk import Bools, Plan, other_pictures
from regard.audit.pictures.methods import audited_methods
from regard.audit.pictures.outside import MapBatch
from regard.audit.pictures.parts import PARTS
from regard.audit.settings import FEW_PICTURES, PLANTED_PICTURES, AuditSettings
from regard.data.dataset import Dataset
from regard.data.regions import Regions
from regard.errors import DataError, NetworkError
from regard.explanation.artifacts import observe
from regard.measurement.faithfulness.occluders import occluders_of
from regard.measurement.reliance.compositing import LENDABLE, fillable
from regard.measurement.reliance.swaps import SWAPS, draw_donors
from regard.networks.network import Network
from regard.networks.predict import prepared


def plan_of(
    network: Network, dataset: Dataset, settings: AuditSettings, regions: Regions | None
) -> tuple[Plan, dict[str, str]]:
    """What is measured, and by part or method why it is not. The first picture that can be read tries each method."""
    bad: list[str] = []  # they are named where they are measured
    on_bad = (lambda picture, error: bad.append(str(error))) if settings.skip_bad else None
    stream = prepared(network, dataset.pictures, batch_size=1, workers=0, on_bad=on_bad)
    batch, pixels = next(stream, (None, None))
    if batch is None or pixels is None:
        raise DataError(f"none of {len(bad)} pictures can be read; of the first: {bad[0]}")
    separate = regions is not None and regions.name != dataset.source.name
    if regions is not None and separate and not any(regions.find(name) for name in dataset.names):
        raise DataError(
            f"{regions.name} has a mask of none of the {len(dataset)} pictures; call masks as their pictures are, "
            f"such as {dataset.names[0]!r}, or leave --masks out"
        )
    logits = network.logits(pixels)
    target = int(logits.argmax())
    names = dataset.names
    sample = MapBatch(pixels, (target,), (names[batch.indices[0]],), tuple(batch.sizes))
    methods, skipped = audited_methods(network, settings, dataset.pictures, sample)
    occluders = occluders_of(network)
    few, rare = np.zeros((2, len(dataset)), bool)
    order = np.random.default_rng(settings.seed).permutation(len(dataset))
    few[order[:FEW_PICTURES]] = True
    if settings.full:
        rare[order[:PLANTED_PICTURES]] = True
        occluders = occluders if len(dataset) > 1 else tuple(each for each in occluders if each != "other")
    labels = dataset.labels if network.classes is not None else np.full(len(dataset), -1)
    plan = Plan(
        network,
        methods,
        dataset,
        settings,
        np.asarray(labels, np.int64),
        regions,
        {},
        other_pictures(names, settings.seed),
        few,
        occluders if settings.full else occluders[:1],
        logits.shape[1],
        rare,
    )
    try:
        observe(network, [pixels])
    except NetworkError as error:
        skipped["artifacts"] = str(error)
    if regions is not None:
        usable, useless = _lenders(plan)
        if useless:
            skipped |= {part.name: useless for part in PARTS if "masks" in part.needs}
        indices = [None if label < 0 else int(label) for label in plan.labels]
        draw = partial(draw_donors, names, indices, names, indices, usable, seed=settings.seed)
        plan = replace(plan, donors={name: draw(same=name == SWAPS[1]) for name in SWAPS})
    return plan, skipped


def _lenders(plan: Plan) -> tuple[Bools, str]:
    """(pictures,): whose background may be lent to others; read mask by mask, as there may be many. And where no mask
    is of use at all, why the first is not."""
    import torch

    from regard.data.images.decode import upright_size

    usable = np.zeros(len(plan.pictures), bool)
    useless: list[str | None] = []
    for index, picture in enumerate(plan.pictures.pictures):
        try:
            size = upright_size(picture.opener)
        except DataError:
            continue
        masks = plan.masks([index], [size])
        usable[index] = bool(masks.usable[0]) and bool(fillable(torch.from_numpy(masks.masks), LENDABLE)[0])
        useless.append(masks.why[0] and f"of {picture.name}: {masks.why[0].partition(';')[0]}")
    return usable, f"no mask is of use; {useless[0]}" if useless and all(useless) else ""
