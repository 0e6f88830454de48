"""Values to colours: named colour maps, one scale or each its own, and maps laid over pictures.

Pixels that have no value (NaN: outside of what the network saw) never get a colour of the map: they are hatched grey.
"""

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from regard.errors import DataError, UsageError, unknown

Bytes = NDArray[np.uint8]
Limits = tuple[float, float]

UNSEEN = (226, 226, 226)
STRIPE = (176, 176, 176)
OVERLAY = "inferno"
UNSIGNED = "viridis"
SIGNED = "coolwarm"
"""The default colour maps: for maps laid over pictures (what is low leaves the picture grey), for other values, and for
values with a sign (0 is neutral). See docs/decisions/0006-colours-of-maps.md."""
STORED = (OVERLAY, UNSIGNED, SIGNED)
"""The rows of `colour_maps.png`, matplotlib's own tables: importing matplotlib takes longer than drawing a panel."""
ALPHA = {"jet": 0.4}
"""A map's share in an overlay where it is not `USUAL_ALPHA`: jet's is that of Problem 1."""
USUAL_ALPHA = 0.5


def default(signed: bool) -> str:
    """The colour map for maps of pictures, with or without a sign, when none is named."""
    return SIGNED if signed else OVERLAY


@lru_cache(maxsize=64)
def table(colours: str) -> Bytes:
    """The 256 colours of a colour map, (256, 3) uint8. Raises `UsageError` for a name matplotlib does not have."""
    if colours in STORED:
        return _stored()[STORED.index(colours)]
    import matplotlib

    if not isinstance(colours, str) or colours not in matplotlib.colormaps:
        raise unknown("colour map", colours, list(matplotlib.colormaps), "jet, viridis and coolwarm are usual.")
    rgb = matplotlib.colormaps[colours](np.linspace(0, 1, 256), bytes=True)[:, :3].copy()
    rgb.flags.writeable = False  # it is shared by all callers
    return np.asarray(rgb)


@cache
def _stored() -> Bytes:
    """(colour maps, 256, 3) uint8."""
    with Image.open(Path(__file__).with_name("colour_maps.png")) as image:
        rows = np.asarray(image.convert("RGB"))
    rows.flags.writeable = False
    return rows


def limits(values: ArrayLike, signed: bool = False) -> Limits:
    """The lowest and highest finite value, (0, 0) where there is none; symmetric about 0 for a map with a sign."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return 0.0, 0.0
    low = float(finite.min())
    high = float(finite.max())
    if signed:
        high = max(-low, high)
        low = -high
    return low, high


def levels(values: ArrayLike, scale: Limits) -> Bytes:
    """Where values lie on a scale, 0 (its low end) to 255 (its high end), uint8 of the same shape.

    Values beyond the scale take its nearest end; on a scale without extent (a constant map) all take the middle.
    NaN gives 0: the caller masks it.
    """
    values = np.asarray(values, np.float64)
    low, high = scale
    if not high > low:
        return np.full(values.shape, 128, np.uint8)
    place = values * 0.5 - low * 0.5  # halves: the extent may exceed the largest float
    place /= high * 0.5 - low * 0.5
    place *= 256
    np.fmax(place, 0, out=place)  # 0 where there is NaN
    return np.minimum(place, 255, out=place).astype(np.uint8)


def paint(
    values: ArrayLike,
    colours: str = "viridis",
    *,
    scale: Limits | None = None,
    signed: bool = False,
    hatch: bool = True,
) -> Bytes:
    """Values (..., ) → colours (..., 3) uint8, by a colour map of matplotlib's.

    `scale` is the (low, high) to share among maps; without it a map has its own, symmetric about 0 when `signed`.
    NaN becomes plain grey, in a two-dimensional map hatched unless `hatch` is off. Raises `UsageError` for an unknown
    colour map or a scale that is not two finite numbers in order.
    """
    values = np.asarray(values)
    scale = limits(values, signed) if scale is None else _checked(scale)
    entries = levels(values, scale)
    unseen = np.isnan(values)
    if not unseen.any():
        return table(colours).take(entries, axis=0)  # (..., 3)
    sign = len(table(colours)) + (stripes(*values.shape) if hatch and values.ndim == 2 else np.zeros((), np.intp))
    more = np.concatenate([table(colours), np.asarray([UNSEEN, STRIPE], np.uint8)])
    return more.take(np.where(unseen, sign, entries), axis=0)  # one pass, where writing to a part takes several


def overlay(
    image: Image.Image,
    values: NDArray[Any],
    colours: str | None = None,
    alpha: float | None = None,
    grey: bool = True,
    *,
    scale: Limits | None = None,
    signed: bool = False,
    painted: Image.Image | None = None,
) -> Image.Image:
    """A map (height, width) laid over a picture of that size, as an RGB picture.

    `alpha` (0 to 1) is the map's share, by default what suits the colours; `grey` takes the colour out of the picture
    first, so that all colours are the map's. Where the map is NaN the picture is paled and hatched. Problem 1's overlay
    is that of `jet`. `painted` is the map in these colours already, where the caller has it.
    """
    colours = default(signed) if colours is None else colours
    alpha = ALPHA.get(colours, USUAL_ALPHA) if alpha is None else alpha
    if values.shape != (image.height, image.width):
        raise DataError(
            f"a map of {values.shape[0]} × {values.shape[1]} pixels does not fit a picture of "
            f"{image.height} × {image.width}; bring it there with `Heatmap.upsampled`"
        )
    if not 0 <= alpha <= 1:
        raise UsageError(f"the overlay's alpha is {alpha}; it must lie between 0 (picture alone) and 1 (map alone)")
    base = image.convert("L").convert("RGB") if grey else image.convert("RGB")
    if painted is None:
        painted = Image.fromarray(paint(values, colours, scale=scale, signed=signed, hatch=False))
    blend = Image.blend(base, painted, alpha)
    unseen = np.isnan(values)
    if unseen.any():
        pale = Image.blend(base, Image.new("RGB", base.size, UNSEEN), 0.65)
        pale.paste(STRIPE, mask=Image.fromarray(stripes(*unseen.shape)))
        blend.paste(pale, mask=Image.fromarray(unseen))
    return blend


def stripes(height: int, width: int, period: int = 11) -> NDArray[np.bool_]:
    """(height, width) of thin diagonal stripes: the sign for "not seen by the network"."""
    line = np.arange(height + width) % period < 2
    return sliding_window_view(line, width)[:height]  # each row is that above it, moved by a pixel


def _checked(scale: Limits) -> Limits:
    low, high = scale
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise UsageError(f"a colour scale from {low} to {high} does not work; give two finite numbers, the lower first")
    return float(low), float(high)
