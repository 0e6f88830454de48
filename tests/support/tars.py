"""Small pictures in tars, as webdataset writes them."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def png(seed: int, height: int = 12, width: int = 16) -> bytes:
    """A small picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def write_tar(
    path: Path, members: Mapping[str, bytes] | Sequence[tuple[str, bytes]], kind: int = tarfile.USTAR_FORMAT
) -> Path:
    """A tar of these files, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_shards(folder: Path, shards: int = 3, pictures: int = 4, labels: Sequence[str] = ("cat", "dog")) -> Path:
    """`folder/000000.tar` ...: pictures `0000000.png` ... over all, each with a `.cls`, `.txt` and `.json`."""
    for shard in range(shards):
        members = {}
        for number in range(shard * pictures, (shard + 1) * pictures):
            label = labels[number % len(labels)]
            members |= {
                f"{number:07d}.png": png(number),
                f"{number:07d}.cls": label.encode(),
                f"{number:07d}.txt": f"a {label}, number {number}".encode(),
                f"{number:07d}.json": json.dumps({"site": f"s{number % 3}"}).encode(),
            }
        write_tar(folder / f"{shard:06d}.tar", members)
    return folder
