"""The parts of an audit that plant something: an adversary, a ceiling; and what is done against artifact tokens."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from regard.audit import adversary, ceiling
from regard.audit.fooled import AREA, ELSEWHERE, MEASURES, UNTREATED, treated
from regard.audit.pictures.chunk import Bools, Chunk, Floats
from regard.data.dataset import Picture
from regard.data.images.decode import upright_size
from regard.data.regions import Regions
from regard.errors import DataError
from regard.measurement.artifacts.spots import on_background
from regard.measurement.faithfulness.curves import removal_curves
from regard.measurement.faithfulness.deletion import single_deletion
from regard.measurement.faithfulness.occluders import OTHER
from regard.networks.cells import cells
from regard.records.audits.verdicts import ADVERSARY, CEILING
from regard.scenes.folder import SceneRegions


def artifacts(chunk: Chunk) -> None:
    """Artifact tokens of pictures as they are, denoised, and of the network repaired."""
    plan = chunk.plan
    masks = None if chunk.masks is None else chunk.objects.cpu().numpy()
    searched = None if plan.searched is None else plan.searched[chunk.indices]
    for each in treated(plan.network, chunk.visible, masks, plan.repaired, searched):
        untreated = each.treatment == UNTREATED
        spots = each.spots
        for measure, values in zip(MEASURES, (spots.share, spots.attention, spots.on_object), strict=True):
            chunk.add(measure, values, condition="" if untreated else each.treatment)
        if untreated and masks is not None:
            grid = cells(plan.network, chunk.batch.pixels)
            usable = chunk.masks is not None and chunk.masks.usable
            chunk.add("artifacts_on_background", on_background(each.artifacts, masks, grid))
            chunk.add(AREA, np.where(usable, 1 - masks.mean(axis=(1, 2)), np.nan))
            chunk.add(ELSEWHERE, on_background(each.artifacts, _other_masks(chunk), grid))
        counted = (each.predicted >= 0) & (chunk.labels >= 0)
        correct = np.where(counted, each.predicted == chunk.labels, np.nan)
        chunk.add("accuracy", correct, condition=each.treatment)


def _other_masks(chunk: Chunk) -> Bools:
    """(batch, height, width): another picture's object for each, nowhere for one that is alone or cannot be read."""
    plan = chunk.plan
    masks = np.zeros((len(chunk), plan.network.preparation.height, plan.network.preparation.width), bool)
    for place, (index, other) in enumerate(zip(chunk.indices, plan.others[chunk.indices].tolist(), strict=True)):
        if other == index:
            continue
        try:
            size = upright_size(plan.pictures.pictures[other].opener)
        except DataError:
            continue
        regions = plan.masks([other], [size])
        masks[place] = regions.masks[0] & regions.usable[0]
    return masks


def adverse(chunk: Chunk) -> None:
    """A map that is built for one measure under the first occluder, under that and under one it was not built for; and
    the methods, made as coarse as it is."""
    among = chunk.plan.planted[chunk.indices]
    if not among.any():
        return
    maps = {ADVERSARY: _planted_maps(chunk, among, adversary.adversary)}
    for method in chunk.plan.methods:
        if not method.control and chunk.valid(method.name)[among].all():
            maps[f"{method.name}{adversary.COARSE}"] = adversary.coarse(chunk.stacked([method.name])[0, among])
    for name, values in maps.items():
        _measure(chunk, name, values, among, chunk.plan.occluders[:2])


def best_possible(chunk: Chunk) -> None:
    """The planted truth of drawn scenes, or Shapley values of cells, under the first occluder."""
    among = chunk.plan.planted[chunk.indices]
    if not among.any():
        return
    if chunk.masks is not None and is_scene(chunk.plan.regions, chunk.plan.pictures.pictures[chunk.indices[0]]):
        among = among & chunk.masks.usable
        if not among.any():
            return
        maps = ceiling.oracle(chunk.objects.cpu().numpy()[among], *cells(chunk.plan.network, chunk.batch.pixels))
    else:
        maps = _planted_maps(
            chunk, among, lambda *what, **how: ceiling.cell_shapley(*what, **how, seed=chunk.plan.settings.seed)
        )
    _measure(chunk, CEILING, maps, among, chunk.plan.occluders[:1])
    values = np.full(len(chunk), np.nan)
    pixels, targets = chunk.batch.pixels[torch.from_numpy(among)], chunk.targets[among]
    first, donors = chunk.plan.occluders[0], _donors(chunk, among, chunk.plan.occluders[0])
    values[among] = single_deletion(chunk.plan.network, pixels, maps[None], targets, occluder=first, donors=donors)[0]
    chunk.add("single_deletion", values, CEILING)


def is_scene(regions: Regions | None, picture: Picture) -> bool:
    """Whether what a picture is of was planted, and is known: of a drawn scene."""
    return regions is not None and isinstance(regions.find(picture.name), SceneRegions)


def _planted_maps(chunk: Chunk, among: Bools, make: Callable[..., Floats]) -> Floats:
    first = chunk.plan.occluders[0]
    pixels = chunk.batch.pixels[torch.from_numpy(among)]
    return make(chunk.plan.network, pixels, chunk.targets[among], occluder=first, donors=_donors(chunk, among, first))


def _donors(chunk: Chunk, among: Bools, occluder: str) -> Tensor | None:
    return chunk.others()[torch.from_numpy(among)] if occluder == OTHER else None


def _measure(chunk: Chunk, name: str, maps: Floats, among: Bools, occluders: tuple[str, ...]) -> None:
    """Removal curves of one map (pictures, rows, columns) of some of the pictures."""
    settings = chunk.plan.settings
    for place, occluder in enumerate(occluders):
        curves = removal_curves(
            chunk.plan.network,
            chunk.batch.pixels[torch.from_numpy(among)],
            maps[None],
            chunk.targets[among],
            occluder=occluder,
            steps=settings.steps,
            seed=settings.seed,
            donors=_donors(chunk, among, occluder),
        )
        for measure in ("srg", "insertion", "deletion"):
            values = np.full(len(chunk), np.nan)
            values[among] = getattr(curves, measure)[0]
            chunk.add(measure, values, name, occluder if place else "")
