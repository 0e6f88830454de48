"""Grey pictures of more than 8 bits: which of their values are black and white, and how they become levels.

What a type can hold is the scale, not what one picture holds: so equal values stay equal over all pictures.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITE = 65535.0
"""White of 16 bits."""
SIGNED = (-32768.0, 32767.0)
_BITS = 258  # tags of TIFF
_PHOTOMETRIC = 262
_SAMPLE_FORMAT = 339

Ends = tuple[float, float]


def is_deep(image: Image.Image) -> bool:
    """Whether a picture is grey with more than 8 bits: integers of 12, 16 or 32 bits, or floats."""
    return image.mode[0] in "IF"


def numbers(image: Image.Image) -> NDArray[Any]:
    """(height, width) of such a picture; what is not finite is 0."""
    return np.nan_to_num(np.asarray(image), nan=0.0, posinf=0.0, neginf=0.0)


def fixed_ends(image: Image.Image) -> Ends | None:
    """The values that are (black, white) by the type alone; None of 32-bit integers and floats, which have no such."""
    tags = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16"):
        white = 4095.0 if tags.get(_BITS) == (12,) else WHITE
        return (white, 0.0) if tags.get(_PHOTOMETRIC) == 0 else (0.0, white)  # 0: white is zero
    if image.mode == "I" and tags.get(_BITS) == (16,) and tags.get(_SAMPLE_FORMAT) == (2,):
        return SIGNED
    return None


def ends_within(image: Image.Image, low: float, high: float) -> Ends:
    """(black, white) of 32-bit integers or floats from `low` to `high`: integers are taken as 0..65535, floats as 0..1
    where they are in that range, else as 0..255. Beyond, the smallest value is black and the largest white."""
    white = WHITE if image.mode[0] == "I" else 1.0 if high <= 1 else 255.0
    return (low, high) if low < 0 or high > white else (0.0, white)


def ends_of(image: Image.Image) -> Ends:
    """The values that are (black, white) in a picture."""
    fixed = fixed_ends(image)
    if fixed is not None:
        return fixed
    values = numbers(image)
    return ends_within(image, float(values.min(initial=0.0)), float(values.max(initial=0.0)))


def levels(image: Image.Image, ends: Ends) -> NDArray[np.float64]:
    """(height, width): a deep picture's values between its (black, white) as levels from 0.0 to 255.0."""
    black, white = ends
    return np.clip((numbers(image).astype(np.float64) - black) * (255 / (white - black)), 0.0, 255.0)
