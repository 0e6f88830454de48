"""Makes the figure of before and after a repair, docs/images/registers.jpg, from pictures that anyone may have.

    .venv/bin/python tools/register_figure.py RUN

RUN is a repaired `pets-tiny`, as `regard registers DATA --out RUN --anyway` leaves it. The pictures are scikit-image's
photograph of a cat (CC0) and scenes that regard draws.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import skimage
from PIL import Image

from regard.data.images.decode import open_picture
from regard.data.layouts import read_pictures
from regard.explanation.pictures.explain import heatmaps
from regard.networks.load import load
from regard.rendering.figures.sheets import Column, comparison
from regard.scenes import render
from regard.scenes.sampling import sample

SCENES = (3, 12, 20)
BLOCKS = (8, 9, 11)
TARGET = Path(__file__).parents[1] / "docs" / "images" / "registers.jpg"


def main() -> None:
    networks = {"before": load("pets-tiny"), "after": load(sys.argv[1])}
    with TemporaryDirectory() as folder:
        paths = [Path(skimage.data.__file__).parent / "chelsea.png"]
        for seed in SCENES:
            paths.append(Path(folder) / f"scene {seed}.png")
            Image.fromarray(render(sample(seed)).picture).save(paths[-1])
        columns = [
            Column(f"block {block}, {name}", False, _maps(network, paths, block))
            for block in BLOCKS
            for name, network in networks.items()
        ]
        pictures = [(open_picture(path), path.stem) for path in paths]
    drawn = comparison(pictures, columns, caption="pets-tiny: attention of CLS, mean over heads", width=1500)
    drawn.convert("RGB").save(TARGET, quality=85, optimize=True, progressive=True)


def _maps(network, paths, block):
    return [next(heatmaps(network, read_pictures([path]), "attention", {"layer": block}, workers=0)) for path in paths]


if __name__ == "__main__":
    main()
