"""`oxford-pets`: the Oxford-IIIT Pet photographs with their official split, by way of torchvision's download."""

import sys
from contextlib import redirect_stdout
from pathlib import Path

from regard.data.dataset import Picture
from regard.data.openers import FileOpener
from regard.errors import DataError
from regard.files import cache_folder

_SPLITS = {"trainval": "train", "test": "test"}
_SPECIES = {"1": "cat", "2": "dog"}


def is_oxford_pets(source: str) -> bool:
    return source == "oxford-pets" and not Path(source).exists()


def read_oxford_pets(source: str = "oxford-pets", labels: bool = True) -> list[Picture]:
    """3,680 pictures to train on and 3,669 to test with, of 37 breeds; `species` is a column.

    They are kept in `regard` in the user's cache folder (`XDG_CACHE_HOME`), and fetched once, about 800 MB. Raises
    `DataError` when that fails, as it does without a network.
    """
    root = cache_folder()
    folder = root / "oxford-iiit-pet"
    if not (folder / "annotations" / "test.txt").is_file():
        _download(root)
    pictures = [picture for official, split in _SPLITS.items() for picture in _listed(folder, official, split)]
    missing = next((picture.name for picture in pictures if not (folder / picture.name).is_file()), None)
    if missing:
        raise DataError(f"{folder} lacks {missing}: its download was cut off; remove that folder and try again")
    return pictures


def _listed(folder: Path, official: str, split: str) -> list[Picture]:
    """The pictures of one of the official lists, whose lines are: name, class, species, breed."""
    lines = (folder / "annotations" / f"{official}.txt").read_text(encoding="utf-8").splitlines()
    pictures = []
    for line in filter(None, map(str.strip, lines)):
        name, _, species, _ = line.split()
        file = folder / "images" / f"{name}.jpg"
        label = name.rpartition("_")[0]
        pictures.append(Picture(f"images/{name}.jpg", FileOpener(file), label, split, {"species": _SPECIES[species]}))
    return pictures


def _download(root: Path) -> None:
    from torchvision.datasets import OxfordIIITPet  # late: it brings torch, and is needed this once

    try:
        root.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):  # its progress is no result
            OxfordIIITPet(str(root), download=True)
    except (OSError, RuntimeError) as error:  # no network, no space, or a file that is not what it should be
        raise DataError(
            f"oxford-pets cannot be fetched to {root} ({error}); it needs a network the first time; without one, give "
            "a folder of pictures"
        ) from error
