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
    `attention` that they draw of that to all patches, the share of them `on_background`, the share of the picture that
    is background (`background`, what chance would give), and the share of attention `on_object`."""

    share: Floats
    attention: Floats
    on_background: Floats
    background: Floats
    on_object: Floats


def spots(
    artifacts: Bools, attention: Floats, masks: Bools | None = None, grid: tuple[int, int] | None = None
) -> Spots:
    """From artifact tokens and attention (pictures, patches) of one block; `masks` (pictures, height, width) of objects
    at the network's input, false everywhere where there is none, on patches of the `grid`."""
    attention = np.asarray(attention, np.float64)
    total = attention.sum(axis=1)
    share = artifacts.mean(axis=1)
    drawn = np.divide((attention * artifacts).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
    nothing = np.full(len(total), np.nan)
    if masks is None or grid is None:
        return Spots(share, drawn, nothing, nothing, nothing)
    covers = [input_cover(mask, *grid) for mask in masks]
    inside = np.stack([(cover.inside / cover.area).ravel() for cover in covers])  # (pictures, patches)
    known = (masks.any(axis=(1, 2))) & ~masks.all(axis=(1, 2))
    count = artifacts.sum(axis=1)
    off = np.divide((artifacts * (1 - inside)).sum(axis=1), count, out=nothing.copy(), where=known & (count > 0))
    on = np.divide((attention * inside).sum(axis=1), total, out=nothing.copy(), where=known & (total > 0))
    background = np.where(known, 1 - masks.mean(axis=(1, 2)), np.nan)
    return Spots(share, drawn, off, background, on)


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
