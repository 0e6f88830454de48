"""Whatever a user has as pictures → pictures that a network can be given; what cannot be one is refused by name."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regard.data.dataset import Dataset, Picture
from regard.data.images.decode import Size
from regard.data.images.preparation import Preparation
from regard.data.openers import ArrayOpener, Opener, Source, opener_of
from regard.errors import DataError, UsageError
from regard.networks.network import Network
from regard.networks.predict import prepared

PictureLike = Source | Tensor | Picture
"""One picture: a path, bytes of a file, an image of Pillow's, an array (height, width, 3) or (height, width), a tensor
(3, height, width)."""
Pictures = PictureLike | Sequence[PictureLike] | Dataset
"""One picture, or several; a tensor (batch, 3, height, width) is several."""


@dataclass(frozen=True, eq=False)
class PreparedOpener:
    """A tensor (3, height, width) that is normalised for a network already; drawn as it was before `preparation`."""

    tensor: Tensor
    preparation: Preparation
    name: str

    def open(self) -> Image.Image:
        return self.preparation.drawn(self.tensor)

    def digest(self) -> str:
        values = self.tensor.float().cpu().contiguous().numpy()
        return hashlib.sha256(f"{values.shape} ".encode() + values.tobytes()).hexdigest()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class InputBatch:
    """Some pictures as the network takes them: `pixels` (batch, 3, height, width) normalised, on its device.

    `indices` are into the pictures of the call; `preparation` says what the network sees of each, of `sizes` (height,
    width).
    """

    indices: list[int]
    pixels: Tensor
    sizes: list[Size]
    preparation: Preparation


def pictures_of(pictures: Pictures, network: Network | None = None, is_prepared: bool = False) -> tuple[Picture, ...]:
    """The pictures of a call; one of them, or as many as there are.

    Raises `UsageError` for none, for an iterator, which must be streamed, and for what is no picture; `DataError` for
    pixels of a wrong shape, dtype or range.
    """
    if isinstance(pictures, Dataset):
        return pictures.pictures
    if isinstance(pictures, Tensor) and pictures.ndim == 4:
        pictures = list(pictures)
    elif is_one(pictures):
        return (picture_of(pictures, "picture", network, is_prepared),)
    if not isinstance(pictures, Sequence):
        if isinstance(pictures, Iterable) and not isinstance(pictures, Mapping | set | frozenset):
            raise UsageError(
                f"pictures came as {type(pictures).__name__}, of which it is not known how many there are; call "
                "`.stream` with it, which yields one record after the other, or give a list"
            )
        raise UsageError(f"pictures came as {type(pictures).__name__}; give one picture, or a list of them")
    if not pictures:
        raise UsageError("no pictures came; give at least one")
    return tuple(picture_of(each, f"picture {index}", network, is_prepared) for index, each in enumerate(pictures))


def is_one(pictures: Any) -> bool:
    """Whether this is a single picture, or means to be one."""
    one = isinstance(pictures, str | Path | bytes | Image.Image | np.ndarray | Tensor | Picture)
    return one or hasattr(pictures, "digest")


def each_picture(
    pictures: Iterable[PictureLike], network: Network | None = None, is_prepared: bool = False
) -> Iterator[Picture]:
    """Pictures of any iterable, one after the other. Raises `UsageError` at once for one picture, and for no pictures
    at all."""
    if is_one(pictures) and not (isinstance(pictures, Tensor) and pictures.ndim == 4):
        raise UsageError(
            "`.stream` takes pictures, one after the other, and this is one; give it to the predictor itself"
        )
    if not isinstance(pictures, Iterable):
        raise UsageError(f"pictures came as {type(pictures).__name__}; give something that yields pictures")
    return (picture_of(each, f"picture {index}", network, is_prepared) for index, each in enumerate(pictures))


def picture_of(source: Any, name: str, network: Network | None = None, is_prepared: bool = False) -> Picture:
    """One picture. `name` is what it is called where it is no file; a prepared one is checked against `network`."""
    if is_prepared and network is not None:
        return Picture(name, _prepared_opener(source, name, network))
    if isinstance(source, Picture):
        return source
    if isinstance(source, str | Path):
        return Picture(Path(source).name, opener_of(source))
    return Picture(name, _tensor_opener(source, name) if isinstance(source, Tensor) else opener_of(source, name))


def _prepared_opener(source: Any, name: str, network: Network) -> PreparedOpener:
    if not isinstance(source, Tensor) or not source.is_floating_point():
        kind = source.dtype if isinstance(source, Tensor) else type(source).__name__
        raise UsageError(f"{name} came as {kind}; prepared=True is for float tensors that are normalised already")
    if source.ndim != 3:
        raise DataError(f"{name} has the shape {tuple(source.shape)}; a prepared tensor is (3, height, width)")
    network.check(source[None])
    if not math.isfinite(source.sum()):  # one pass, where `isfinite` takes several
        raise DataError(f"{name} has values that are NaN or infinite; give finite ones")
    return PreparedOpener(source.detach(), network.preparation, name)


def _tensor_opener(tensor: Tensor, name: str) -> Opener:
    """A tensor (3, height, width) of floats in 0..1 or of uint8, as an array."""
    shape = tuple(tensor.shape)
    if len(shape) != 3 or shape[0] != 3 or 0 in shape:
        hint = "; permute(2, 0, 1) makes it one" if len(shape) == 3 and shape[2] == 3 else ""
        raise DataError(f"{name} has the shape {shape}; a tensor is (3, height, width), or a batch of them{hint}")
    values = tensor.detach().cpu().permute(1, 2, 0)  # (height, width, 3)
    if not values.is_floating_point():
        return ArrayOpener(values.numpy(), name)
    if values.min() < 0 and values.abs().max() < 20:
        raise DataError(
            f"{name} has values from {values.min():g} to {values.max():g}, as a normalised tensor has; say so with "
            "prepared=True where it is at the network's size, or give values in 0..1"
        )
    return ArrayOpener(values.float().numpy(), name)


def input_batches(
    network: Network,
    pictures: Sequence[Picture],
    batch_size: int,
    workers: int = 0,
    on_bad: Callable[[Picture, DataError], None] | None = None,
) -> Iterator[InputBatch]:
    """Batches of pictures in order, read and prepared, or of tensors that were; memory does not grow with their number.

    Raises `DataError` naming a picture that cannot be read, unless `on_bad` takes it.
    """
    if batch_size < 1:
        raise UsageError(f"batch size {batch_size} is out of range; it must be at least 1")
    tensors = [picture.opener.tensor for picture in pictures if isinstance(picture.opener, PreparedOpener)]
    if not tensors:
        for batch, pixels in prepared(network, pictures, batch_size=batch_size, workers=workers, on_bad=on_bad):
            yield InputBatch(batch.indices, pixels, batch.sizes, network.preparation)
        return
    whole = network.preparation.whole()  # what was cut before is not known
    for (height, width), run in groupby(enumerate(tensors), lambda row: row[1].shape[1:]):
        while rows := list(islice(run, batch_size)):
            pixels = torch.stack([tensor.to(network.device, torch.float32) for _, tensor in rows])
            yield InputBatch([index for index, _ in rows], pixels, [(height, width)] * len(rows), whole)
