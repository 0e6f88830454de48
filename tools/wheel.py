"""Build the sdist and, out of it, the wheel: `make wheel` leaves both in dist/.

    .venv/bin/python tools/wheel.py [OUT]

The wheel of the checkout is built, too, and both must be the same bytes: what is released can be built again from what
is released. Times inside are SOURCE_DATE_EPOCH, or hatchling's own fixed day: a second build gives the same files.
"""

import hashlib
import sys
import tarfile
import tempfile
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]


def sdist(root: Path, out: Path) -> Path:
    return Path(next(SdistBuilder(str(root)).build(directory=str(out))))


def wheel(root: Path, out: Path) -> Path:
    return Path(next(WheelBuilder(str(root)).build(directory=str(out), versions=["standard"])))


def wheel_of(archive: Path, out: Path) -> Path:
    """The wheel that an unpacked sdist builds."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
        (root,) = Path(folder).iterdir()
        return wheel(root, out)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(out: Path = ROOT / "dist") -> None:
    out.mkdir(parents=True, exist_ok=True)
    archive = sdist(ROOT, out)
    built = wheel_of(archive, out)
    with tempfile.TemporaryDirectory() as folder:
        if sha256(wheel(ROOT, Path(folder))) != sha256(built):
            sys.exit("the wheel of the sdist is another than that of the checkout")
    for path in (archive, built):
        print(f"{path.name}  {path.stat().st_size / 1e6:.1f} MB  sha256 {sha256(path)}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
