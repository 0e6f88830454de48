"""Does a network rely on the background: what it answers when that is gone, or is another picture's.

Pasting alone costs something, and so the object is pasted on its own filled background too: the control. What the
network loses from there to another picture's background is its reliance on the background (Xiao et al. 2021, arXiv
2006.09994, whose Mixed-Rand and Mixed-Same these are, but for the control).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.data.dataset import Picture
from regard.data.images.preparation import Preparation, batches
from regard.data.regions import Regions
from regard.measurement.chance import generator_of_name
from regard.measurement.localisation.objects import input_masks
from regard.measurement.reliance.answers import Answers, Bools, Floats, Ints, answers
from regard.measurement.reliance.compositing import (
    LENDABLE,
    as_shown,
    background_alone,
    fillable,
    mean_colour,
    object_alone,
    pasted,
)
from regard.networks.network import Network

VARIANTS = ("original", "object", "background", "control")
"""The picture, its object alone, its background with the object's box filled, the object on that."""
SWAPS = ("random", "same")
"""Donors of a class drawn from the others, and of the same class."""
FEWEST = 5
"""Donors of the same class that a picture must have before one of them is drawn."""


def draw_donors(
    names: Sequence[str],
    labels: Sequence[Any],
    donors: Sequence[str],
    donor_labels: Sequence[Any],
    usable: Bools,
    *,
    same: bool = False,
    seed: int = 0,
) -> Ints:
    """(pictures,) which of the `donors` lends each picture its background, by index, -1 for none.

    First a class is drawn from those that are not the picture's own, then one of its donors; where there is no other
    class, or no label (None), any other picture. With `same` it is one of the picture's own class, of which there must
    be `FEWEST`. Only `usable` (donors,) ones lend (see `fillable`), none to itself. Each is a function of the seed, the
    picture's name, and which donors there are: not of their order.
    """
    members: dict[Any, list[int]] = {}
    for index in sorted(np.flatnonzero(usable).tolist(), key=lambda index: donors[index]):
        members.setdefault(donor_labels[index], []).append(index)
    everyone = sorted((index for rows in members.values() for index in rows), key=lambda index: donors[index])
    classes = sorted((label for label in members if label is not None), key=str)
    place_of = {label: place for place, label in enumerate(classes)}
    lender_of = {donors[index]: index for index in everyone}
    chosen = np.full(len(names), -1, np.int64)
    for row, (name, label) in enumerate(zip(names, labels, strict=True)):
        generator = generator_of_name(name, seed, "same" if same else "random")
        pool = everyone
        if same:
            pool = members.get(label, []) if label is not None else []
        elif label is not None and len(classes) > (label in place_of):
            place = int(generator.integers(len(classes) - (label in place_of)))
            pool = members[classes[place + (place >= place_of.get(label, len(classes)))]]
        itself = lender_of.get(name, -1)
        if len(pool) - pool.count(itself) >= (FEWEST if same else 1):
            index = pool[int(generator.integers(len(pool)))]
            while index == itself:
                index = pool[int(generator.integers(len(pool)))]
            chosen[row] = index
    return chosen


def lent_backgrounds(
    donors: Sequence[Picture], chosen: Ints, regions: Regions, preparation: Preparation
) -> tuple[Tensor, Bools]:
    """The backgrounds (pictures, 3, height, width) of the `chosen` (pictures,) donors, each with its own object's box
    filled, as the network would be shown it; and (pictures,) bool, which of them there are.

    One that was not chosen (-1), cannot be read, has no mask, or too little around its object is not there: black, and
    false.
    """
    backgrounds = torch.zeros(len(chosen), 3, preparation.height, preparation.width)
    available = np.zeros(len(chosen), bool)
    needed = np.unique(chosen[chosen >= 0]).tolist()
    pictures = [donors[index] for index in needed]
    for batch in batches(pictures, preparation, workers=0, on_bad=lambda picture, error: None):
        objects = input_masks(regions, [pictures[index] for index in batch.indices], batch.sizes, preparation)
        masks = torch.from_numpy(objects.masks)
        filled = background_alone(as_shown(batch.pixels), masks)
        lendable = fillable(masks, LENDABLE)
        for place, index in enumerate(batch.indices):
            rows = np.flatnonzero(chosen == needed[index])
            backgrounds[rows] = filled[place]
            available[rows] = bool(lendable[place])
    return torch.where(torch.from_numpy(available)[:, None, None, None], backgrounds, 0), available


def swaps(
    network: Network,
    pictures: Tensor,
    masks: Tensor,
    targets: NDArray[Any],
    backgrounds: Mapping[str, tuple[Tensor, Bools]],
    *,
    batch_size: int = 32,
) -> Answers:
    """What the network answers to `VARIANTS`, and with each of other `backgrounds` (by the names of `SWAPS`).

    `pictures` and `masks` are as in `compositing`, `targets` (pictures,) the classes whose probability is wanted. Each
    of the `backgrounds` is (pictures, 3, height, width), where each donor's own object is filled (see
    `background_alone`), and (pictures,) bool, which of them there are. A picture without object has neither that nor
    swaps, one whose object's box leaves too little around it neither background nor control (see `fillable`).
    """
    return answers(network, variants(network.preparation, pictures, masks, backgrounds), targets, batch_size)


def variants(
    preparation: Preparation, pictures: Tensor, masks: Tensor, backgrounds: Mapping[str, tuple[Tensor, Bools]]
) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """What `swaps` shows: the name of each variant, the pictures, and which of them have it (None for all)."""
    some = masks.flatten(1).any(dim=1)
    enough = fillable(masks)
    yield "original", pictures, None
    yield "object", object_alone(pictures, masks, mean_colour(preparation)), some
    background = background_alone(pictures, masks)
    yield "background", background, enough
    yield "control", pasted(pictures, masks, background), enough
    for name, (others, available) in backgrounds.items():
        yield name, pasted(pictures, masks, others), some & torch.from_numpy(available).to(some.device)


def flipped(whole: Ints, control: Ints, swapped: Ints) -> Floats:
    """(pictures,): 1 where the answer on another background is another than for the whole picture, 0 where it stays.

    All are predicted classes (pictures,), -1 where a picture has no such variant. NaN there, and where pasting the
    object on its own background changes the answer already: that is no flip.
    """
    return np.where((control == whole) & (swapped >= 0), swapped != whole, np.nan)


def reliance(values: Floats, variants: Sequence[str], swap: str = "random") -> Floats:
    """(pictures,): how much of these values (variants, pictures), of accuracy or probability, is lost from the control
    to another background, -1 to 1; NaN where a picture has not both."""
    return values[variants.index("control")] - values[variants.index(swap)]
