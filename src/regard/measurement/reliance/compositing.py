"""Pictures without their object, without their background, and with that of another: at the network's input.

Pictures here are what the network is shown before its values are normalised, (pictures, 3, height, width) red, green
and blue in [0, 1]; masks (pictures, height, width) bool are the objects at the same size (see `localisation.objects`).

Fills have names, as what stands in the place of what was removed decides what the network answers: "mean colour", the
grey that its preparation subtracts, and "from around", a smooth surface through the pixels beside the hole.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.data.images.preparation import Preparation

FILLS = {"object": "mean colour", "background": "from around", "backgrounds": "from around"}
"""What stands in the place of what was removed: around the object alone, in the background's box, in a donor's."""
MARGIN = 0.05
"""How much larger the box of an object is on each side, as a share of its height or width: masks are never exact."""
FILLABLE = 0.02
"""At least this share of a picture must lie outside of its object's box, for that to be filled from around it."""
LENDABLE = 0.1
"""At least this share must lie there for a picture to lend its background to another."""
RELAXATIONS = 4


def as_shown(pixels: Tensor) -> Tensor:
    """Prepared pictures (pictures, height, width, 3) uint8 → (pictures, 3, height, width) float32 in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).float().div(255)


def normalised(pictures: Tensor, preparation: Preparation) -> Tensor:
    """Pictures in [0, 1] → what goes into the network, (pictures, channels, height, width)."""
    return preparation.normalise(pictures.float().permute(0, 2, 3, 1) * 255)


def mean_colour(preparation: Preparation) -> Tensor:
    """(3,): red, green and blue in [0, 1] of what the preparation makes zero."""
    mean = torch.tensor(preparation.mean)
    return mean.flip(0) if preparation.colours == "BGR" else mean.expand(3)


def boxes(masks: Tensor, margin: float = MARGIN) -> Tensor:
    """(pictures, height, width) bool: the upright box around each object, larger by `margin` and at least a pixel on
    each side, cut at the picture's edges. None where there is no object."""
    down = _span(masks.any(dim=2), margin)  # (pictures, height)
    across = _span(masks.any(dim=1), margin)  # (pictures, width)
    return down[:, :, None] & across[:, None, :]


def _span(rows: Tensor, margin: float) -> Tensor:
    """(pictures, n) bool → from the first that is true to the last, and `margin` of that beyond."""
    place = torch.arange(rows.shape[1], device=rows.device)
    first = torch.where(rows, place, rows.shape[1]).amin(dim=1, keepdim=True)
    last = torch.where(rows, place, -1).amax(dim=1, keepdim=True)
    more = ((last - first + 1) * margin).ceil().clamp(min=1)
    return (place >= first - more) & (place <= last + more) & (last >= 0)


def fillable(masks: Tensor, least: float = FILLABLE) -> Tensor:
    """(pictures,) bool: whether there is an object, and at least this share of the picture around its box.

    With `least` at `LENDABLE`, whether the picture can lend its background.
    """
    around = 1 - boxes(masks).float().mean(dim=(1, 2))
    return masks.flatten(1).any(dim=1) & (around >= least)


def object_alone(pictures: Tensor, masks: Tensor, colour: Tensor) -> Tensor:
    """The objects in front of one `colour` (3,), which is the same for all pictures and says nothing of any."""
    return pasted(pictures, masks, colour.to(pictures)[None, :, None, None])


def background_alone(pictures: Tensor, masks: Tensor) -> Tensor:
    """The pictures with the *box* of each object filled from around it: a hole of the object's shape still shows it."""
    return filled(pictures, boxes(masks))


def pasted(pictures: Tensor, masks: Tensor, backgrounds: Tensor) -> Tensor:
    """The objects of `pictures`, where they are, in front of `backgrounds`."""
    return torch.where(masks[:, None], pictures, backgrounds)


def filled(pictures: Tensor, holes: Tensor) -> Tensor:
    """Pictures whose `holes` (pictures, height, width) are a smooth surface through the pixels around them.

    Halved until each pixel has a valid one, then doubled again, as Gortler et al. 1996 ("The Lumigraph", pull and
    push); at each size a few steps of Jacobi's towards Laplace's equation take off the edges of the larger pixels. A
    picture that is all hole becomes black: see `fillable`.
    """
    height, width = pictures.shape[-2:]
    valid = ~holes[:, None]  # (pictures, 1, height, width)
    values = torch.where(valid, pictures, 0)
    if bool(valid.all()) or max(height, width) == 1:
        return values
    odd = (0, width % 2, 0, height % 2)
    counts = F.pad(valid.to(pictures.dtype), odd)
    pooled = F.avg_pool2d(counts, 2)
    coarse = F.avg_pool2d(F.pad(values, odd), 2) / pooled.clamp(min=1e-12)  # the mean of those that are valid
    coarse = filled(coarse, pooled[:, 0] == 0)
    fine = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    values = torch.where(valid, pictures, fine)
    for _ in range(RELAXATIONS):
        padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
        around = (padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]) / 4
        values = torch.where(valid, pictures, around)
    return values
