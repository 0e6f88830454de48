"""Artifact tokens by picture: how many, what attention they draw, what they cover, and whether they go with errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.measurement.intervals import NOWHERE, jackknifed, unskewed
from regard.measurement.localisation.objects import input_cover
from regard.records import Score

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Spots:
    """By picture (pictures,), NaN where it is not defined: the `share` of patches that are artifact tokens, the
    `attention` that they draw of that to all patches, and the share of that attention `on_object`."""

    share: Floats
    attention: Floats
    on_object: Floats


def spots(
    artifacts: Bools, attention: Floats, masks: Bools | None = None, grid: tuple[int, int] | None = None
) -> Spots:
    """From artifact tokens and attention (pictures, patches) of one block; `masks` (pictures, height, width) of objects
    at the network's input, false everywhere where there is none, on patches of the `grid`."""
    attention = np.asarray(attention, np.float64)
    share = artifacts.mean(axis=1)
    drawn = _of(attention, artifacts.astype(np.float64))
    if masks is None or grid is None:
        return Spots(share, drawn, np.full(len(share), np.nan))
    return Spots(share, drawn, np.where(_known(masks), _of(attention, _inside(masks, grid)), np.nan))


def on_background(artifacts: Bools, masks: Bools, grid: tuple[int, int]) -> Floats:
    """(pictures,): the share of artifact tokens (pictures, patches) that lies off the object, NaN where there is none.

    To be read against the same with the masks of *other* pictures: where artifact tokens always take the same places,
    the corners say, what they cover is a matter of where objects are in all pictures, not of what is to be seen there.
    """
    return np.where(_known(masks), _of(artifacts.astype(np.float64), 1 - _inside(masks, grid)), np.nan)


def _of(amounts: Floats, shares: Floats) -> Floats:
    """(pictures,): how much of the amounts (pictures, patches) these shares of them are, NaN of nothing."""
    total = amounts.sum(axis=1)
    return np.divide((amounts * shares).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


def _inside(masks: Bools, grid: tuple[int, int]) -> Floats:
    """(pictures, patches): the share of each patch that lies on the object."""
    covers = [input_cover(mask, *grid) for mask in masks]
    return np.stack([(cover.inside / cover.area).ravel() for cover in covers])


def _known(masks: Bools) -> Bools:
    """(pictures,): where there is an object and a background."""
    return np.asarray(masks.any(axis=(1, 2)) & ~masks.all(axis=(1, 2)), bool)


def where_wrong(values: Floats, wrong: Bools, groups: NDArray[np.generic] | None = None) -> Score:
    """The mean of `values` (pictures,), 0 to 1, where the answer is `wrong` (pictures,), less that where it is right,
    with its interval by picture or by group. NaN where all are wrong, or none."""
    known = np.isfinite(values)
    values = values[known]
    wrong = wrong[known]
    if min(wrong.sum(), (~wrong).sum()) < 2:
        return NOWHERE
    sums = np.stack([values * wrong, wrong, values * ~wrong, ~wrong]).astype(np.float64)

    def difference(totals: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(totals[0] / totals[1] - totals[2] / totals[3], np.float64)

    estimate = jackknifed(sums, difference, None if groups is None else groups[known])
    if not np.isfinite(estimate.errors).all():  # a group that holds all that is wrong
        return NOWHERE
    return unskewed(estimate, len(values), least=-1.0, most=1.0)
