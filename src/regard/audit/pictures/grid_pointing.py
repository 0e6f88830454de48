"""The grid pointing game of an audit: montages of pictures that are classified surely, measured after the pictures."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from regard.audit.pictures.chunk import Plan
from regard.audit.pictures.gathered import Gathered
from regard.audit.pictures.methods import AuditedMethod
from regard.audit.pictures.outside import MapBatch
from regard.explanation import METHODS
from regard.measurement.intervals import mean
from regard.measurement.localisation.gridpg import CHANCE, FEWEST, Montages, grid_pointing, montage, montages
from regard.measurement.measure import labelled
from regard.measurement.reliance.compositing import mean_colour, normalised
from regard.networks.cells import cells
from regard.records import Finding, Score

MOST = 100
"""Montages that are made, at most."""
MEASURE = "grid_pointing"


def montages_of(plan: Plan, gathered: Gathered) -> Montages:
    """The montages of pictures, by their places in `gathered`."""
    labels = plan.labels[gathered.indices]
    confidence = gathered.probabilities[np.arange(len(gathered)), gathered.predicted]
    names = [plan.pictures.pictures[index].name for index in gathered.indices.tolist()]
    judged = labels if (labels >= 0).any() else None
    every = montages(names, gathered.predicted, confidence, judged, seed=plan.settings.seed)
    return Montages(every.pictures[:MOST], every.cell[:MOST], every.targets[:MOST])


def pointing_methods(plan: Plan) -> list[AuditedMethod]:
    """Those that can be asked for a class in a picture that was not there before."""
    return [each for each in plan.methods if each.class_specific and not each.control and each.name in METHODS]


def lacking(plan: Plan, chosen: Montages) -> str | None:
    """Why the game cannot be played, None where it can."""
    if not pointing_methods(plan):
        return "no method that is asked about is of a class"
    if min(cells(plan.network, plan.network.blank())) < 2:
        return "the network has fewer than 2 × 2 patches"
    if not len(chosen):
        return "there are no pictures of four classes that are classified surely"
    return None


def measure_montages(
    plan: Plan, gathered: Gathered, chosen: Montages, start: int = 0
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The entries of montages from `start` on, batch by batch, with how many montages are then done."""
    rows, columns = cells(plan.network, plan.network.blank())
    preparation = plan.network.preparation
    for first in range(start, len(chosen), plan.settings.batch_size):
        part = slice(first, first + plan.settings.batch_size)
        indices = chosen.pictures[part]
        inputs, _ = plan.read(gathered.indices[indices.ravel()].tolist())
        wholes = montage(inputs.unflatten(0, indices.shape), rows, columns, mean_colour(preparation))
        pixels = normalised(wholes, preparation).to(plan.network.device, torch.float32)
        size = (preparation.height, preparation.width)
        names = tuple(f"montage {index}" for index in range(first, first + len(indices)))
        batch = MapBatch(pixels, tuple(map(int, chosen.targets[part])), names, (size,) * len(indices))
        entries: list[dict[str, Any]] = [{"montage": first + place, "shares": {}} for place in range(len(indices))]
        for method in pointing_methods(plan):
            for place, values in enumerate(method.maps(batch)[0]):
                if values is not None:
                    share = grid_pointing(values[None, None], chosen.cell[part][place : place + 1])
                    entries[place]["shares"][method.name] = float(share[0, 0])
        yield first + len(indices), entries


def pointing(plan: Plan, entries: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Of each method the share of its map in the cell of the class it is of; chance is a quarter."""
    shares: dict[str, list[float]] = {}
    for entry in entries:
        for name, value in entry["shares"].items():
            shares.setdefault(name, []).append(value)
    for name, values in shares.items():
        score = labelled(MEASURE, mean(np.array(values, np.float64)))
        note = "" if len(values) >= FEWEST else f"fewer than {FEWEST} montages decide nothing"
        yield Finding("localisation", MEASURE, name, score, Score(CHANCE, CHANCE, CHANCE, len(values)), "chance", note)
