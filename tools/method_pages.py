"""Makes the facts and the picture on each method's page, docs/methods/NAME.md, from the METHODS table.

    .venv/bin/python tools/method_pages.py [NAME ...]

What stands between the two marks of a page is replaced; the words around it are written by hand. The picture is
scikit-image's photograph `chelsea` (a cat, CC0) explained with `pets-tiny`, for the class it predicts.
"""

import sys
from pathlib import Path

import skimage
from PIL import Image

from regard.data.images.decode import open_picture
from regard.data.layouts import read_pictures
from regard.explanation import METHODS, Method
from regard.explanation.pictures.explain import heatmaps
from regard.networks.load import load
from regard.rendering.figures.panel import panel

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- from the table: tools/method_pages.py -->", "<!-- end -->"
SETTINGS = {"shapley": {"samples": 16}, "attention": {"layer": 6}}
WIDTH = 900


def main() -> None:
    chosen = sys.argv[1:] or [row.name for row in METHODS if row.kind == "picture"]
    network = load("pets-tiny")
    picture = Path(skimage.data.__file__).parent / "chelsea.png"
    for name in chosen:
        row = METHODS[name]
        (heatmap,) = heatmaps(network, read_pictures([picture]), name, SETTINGS.get(name, {}), workers=0)
        said = "" if heatmap.target is None else f" · for {network.classes[heatmap.target]}"
        drawn = panel(open_picture(picture), heatmap, caption=f"pets-tiny · {name}{said}", signed=row.signed)
        drawn.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
        target = DOCS / "images" / "methods" / f"{name}.jpg"
        drawn.convert("RGB").save(target, quality=82, optimize=True, progressive=True)
        write(row)
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
