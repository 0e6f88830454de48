"""Photographs that are there offline: scikit-image has them in its own package."""

from pathlib import Path

PHOTOGRAPHS = ("chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


def photographs() -> list[Path]:
    """Where they lie."""
    import skimage.data

    home = Path(skimage.data.__file__).parent
    return [home / name for name in PHOTOGRAPHS]
