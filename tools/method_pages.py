"""Makes the facts and the picture on each method's page, docs/methods/NAME.md, from the METHODS table.

    .venv/bin/python tools/method_pages.py [NAME ...]

What stands between the two marks of a page is replaced; the words around it are written by hand. The picture is
scikit-image's photograph `chelsea` (a cat, CC0) explained with `pets-tiny`, for the class it predicts. Of a method for
words it is a drawn scene as `scenes-captioner` describes it, where that has what the method needs; the facts on those
pages are written by hand.
"""

import io
import sys
from pathlib import Path

import skimage
from PIL import Image

from regard.data.images.decode import open_picture
from regard.data.layouts import read_pictures
from regard.explanation import METHODS, Method
from regard.explanation.pictures.explain import heatmaps
from regard.networks.load import load
from regard.predictors.captioner import Captioner
from regard.rendering.figures.panel import panel
from regard.scenes import render, sample

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- from the table: tools/method_pages.py -->", "<!-- end -->"
SETTINGS = {"shapley": {"samples": 16}, "attention": {"layer": 6}}
WIDTH = 900
SCENE = 3  # the seed of a cat with a flower


def main() -> None:
    chosen = sys.argv[1:] or [row.name for row in METHODS if "picture tokens" not in row.requires]
    network = load("pets-tiny")
    picture = Path(skimage.data.__file__).parent / "chelsea.png"
    for name in chosen:
        row = METHODS[name]
        if row.kind == "word":
            save(words(name), name)
            continue
        (heatmap,) = heatmaps(network, read_pictures([picture]), name, SETTINGS.get(name, {}), workers=0)
        said = "" if heatmap.target is None else f" · for {network.classes[heatmap.target]}"
        drawn = panel(open_picture(picture), heatmap, caption=f"pets-tiny · {name}{said}", signed=row.signed)
        save(drawn, name)
        write(row)


def words(name: str) -> Image.Image:
    """The maps of a caption's words."""
    caption = Captioner("scenes-captioner")(render(sample(SCENE)).picture, method=name)
    return Image.open(io.BytesIO(caption._repr_png_()))


def save(drawn: Image.Image, name: str) -> None:
    drawn.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    target = DOCS / "images" / "methods" / f"{name}.jpg"
    drawn.convert("RGB").save(target, quality=82, optimize=True, progressive=True)
    print(name)


def write(row: Method) -> None:
    page = DOCS / "methods" / f"{row.name}.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{facts(row)}\n{END}{after}", encoding="utf-8")


def facts(row: Method) -> str:
    """The table's row as the page has it."""
    sign = "with a sign: red speaks for the class" if row.signed else "without a sign"
    of = "of one class" if row.class_specific else "of no class"
    return "\n".join(
        [
            f"![{row.name}](../images/methods/{row.name}.jpg)",
            "",
            f"*{row.description[0].upper()}{row.description[1:]}.*",
            "",
            "| | |",
            "|---|---|",
            f"| command | `regard explain PICTURES --method {row.name} --out DIR` |",
            f"| settings | {', '.join(f'`--{each}`' for each in row.settings) or 'none'} |",
            f"| values | {sign}; {of} |",
            f"| needs | {', '.join(row.requires) or 'nothing of the network but its answer'} |",
            f"| cost, in forwards | {row.price} |",
            *([f"| map and rest sum to | {row.sums_to} |"] if row.sums_to else []),
            f"| source | {row.source} |",
        ]
    )


if __name__ == "__main__":
    main()
