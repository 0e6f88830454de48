"""How even colour maps are, to usual and colour-blind eyes, alone and over grey: the table behind the decision on them.

    .venv/bin/python bench/colours.py

Steps are CIEDE2000 between 33 levels of a map. `even` is the smallest step over the mean one (1 is perfectly even);
`apart` is the smallest difference of two levels a quarter of the scale apart: below about 5 such values can hardly be
told apart. Both are the worst over usual vision and full protanopia, deuteranopia and tritanopia (Machado, Oliveira and
Fernandes 2009, severity 1.0). `over grey` is the worst over five greys, at the panel's alpha. `tint` is what is left
of it when lightness is the picture's: the smallest distance in (a*, b*) of levels at least a quarter apart, for usual
vision and for the worst.
"""

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from regard.rendering import colour

VISION = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
UNSIGNED = ("jet", "turbo", "viridis", "cividis", "plasma", "inferno", "magma")
SIGNED = ("coolwarm", "RdBu_r", "PuOr_r", "BrBG", "seismic", "bwr", "vanimo", "berlin", "managua")
GREYS = (30, 80, 128, 175, 225)


def seen(rgb: np.ndarray, vision: np.ndarray) -> np.ndarray:
    """sRGB (n, 3) in 0..1 as an eye of this vision has it, in CIELAB."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    changed = np.clip(linear @ vision.T, 0, 1)
    return rgb2lab(np.where(changed <= 0.0031308, changed * 12.92, 1.055 * changed ** (1 / 2.4) - 0.055))


def evenness(rgb: np.ndarray) -> tuple[float, float]:
    """The worst (even, apart) over kinds of vision of colours (33, 3)."""
    found = []
    for vision in VISION.values():
        lab = seen(rgb, vision)
        steps = deltaE_ciede2000(lab[1:], lab[:-1])
        found.append((steps.min() / steps.mean(), min(deltaE_ciede2000(lab[8:], lab[:-8]))))
    return min(even for even, _ in found), min(apart for _, apart in found)


def tint(rgb: np.ndarray, vision: np.ndarray) -> float:
    """The smallest distance in (a*, b*) of any two of (33, 3) colours at least a quarter of the scale apart."""
    plane = seen(rgb, vision)[:, 1:]
    first, second = np.triu_indices(len(plane), len(plane) // 4)
    return float(np.linalg.norm(plane[first] - plane[second], axis=1).min())


def row(name: str, alpha: float) -> list[str]:
    levels = colour.table(name)[np.linspace(0, 255, 33).round().astype(int)] / 255
    laid = [alpha * levels + (1 - alpha) * grey / 255 for grey in GREYS]
    over = [evenness(each) for each in laid]
    tints = [min(tint(each, vision) for each in laid) for vision in VISION.values()]
    alone = evenness(levels)
    light = np.diff(seen(levels, VISION["usual"])[:, 0])
    numbers = [f"{value:.2f}" for value in (*alone, min(even for even, _ in over), min(apart for _, apart in over))]
    rises = "yes" if (light > 0).all() else "no"
    return [name, f"{alpha:g}", *numbers, f"{tints[0]:.1f}", f"{min(tints):.1f}", rises]


def main() -> None:
    for kind, names in (("unsigned", UNSIGNED), ("signed", SIGNED)):
        print(f"\n{kind}\n| map | alpha | even | apart | even over grey | apart over grey", end="")
        print(" | tint | tint, worst | lightness rises |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name in names:
            print("| " + " | ".join(row(name, colour.ALPHA.get(name, colour.USUAL_ALPHA))) + " |")


if __name__ == "__main__":
    main()
