"""How each kind of thing is drawn: its parts from back to front, standing on y = 0."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from regard.scenes.shapes import Part, blob, ellipse, limb, part, polygon, rectangle

GLASS = (176, 216, 235)
RUBBER = (45, 45, 50)
METAL = (150, 154, 160)
WOOD = (124, 86, 58)
LEAF = (72, 146, 66)
WALL = (236, 226, 206)


@dataclass(frozen=True)
class Flat:
    """A level edge from `left` to `right` at the height `y`: a top to stand on, or a cover to be under."""

    left: float
    right: float
    y: float


def ball(_: str) -> list[Part]:
    wedge = blob([(0.0, 0.98), (0.26, 0.85), (0.36, 0.5), (0.26, 0.15), (0.0, 0.02), (0.1, 0.5)], "accent")
    other = blob([(-0.3, 0.9), (-0.16, 0.5), (-0.3, 0.1), (-0.47, 0.3), (-0.5, 0.5), (-0.47, 0.7)], "accent")
    glint = ellipse(-0.13, 0.74, 0.1, 0.07, "light", 30)
    return [part("ball", ellipse(0, 0.5, 0.5, 0.5), details=[wedge, other, glint])]


def box(_: str) -> list[Part]:
    tape = [rectangle(-0.07, 0, 0.07, 0.8, "light"), rectangle(-0.22, 0.5, -0.16, 0.66, "shade")]
    lid = polygon([(-0.55, 0.8), (-0.42, 0.95), (0.42, 0.95), (0.55, 0.8)], "light")
    return [part("side", rectangle(-0.55, 0, 0.55, 0.8), details=tape), part("lid", lid)]


def tree(_: str) -> list[Part]:
    bark = [
        limb([(-0.02, 0.08), (-0.015, 0.5)], (0.008, 0.008), "dark"),
        limb([(0.02, 0.2), (0.02, 0.55)], (0.008, 0.008), "dark"),
    ]
    turns = [math.tau * k / 11 for k in range(11)]
    tufts = [ellipse(0.36 * math.cos(t), 1.0 + 0.3 * math.sin(t), 0.145, 0.135) for t in turns]
    leaves = [
        limb([(x - 0.05, y), (x, y + 0.035), (x + 0.05, y)], (0.009,) * 3, fill)
        for fill, spots in (("shade", _LEAVES[::2]), ("light", _LEAVES[1::2]))
        for x, y in spots
    ]
    trunk = polygon([(-0.11, 0), (-0.055, 0.15), (-0.05, 0.9), (0.05, 0.9), (0.055, 0.15), (0.12, 0)], WOOD)
    bough = limb([(0.03, 0.5), (0.13, 0.62), (0.2, 0.75)], (0.035, 0.028, 0.025), WOOD)
    return [
        part("trunk", trunk, bough, details=bark),
        part("crown", ellipse(0, 1.0, 0.4, 0.33), *tufts, details=leaves),
    ]


_LEAVES = (
    (-0.3, 0.85),
    (-0.1, 1.2),
    (0.05, 0.8),
    (0.25, 1.1),
    (-0.2, 1.0),
    (0.1, 1.03),
    (0.3, 0.85),
    (-0.32, 1.1),
    (-0.05, 0.92),
    (0.12, 1.24),
)


def house(_: str) -> list[Part]:
    frame = [rectangle(-0.375, 0.3, -0.355, 0.55, WALL), rectangle(-0.5, 0.415, -0.23, 0.435, WALL)]
    knob = [ellipse(0.31, 0.22, 0.022, 0.022, (240, 210, 90))]
    tiles = [
        limb([(-0.6 + 0.15 * k, 0.8 + 0.1 * k), (0.6 - 0.15 * k, 0.8 + 0.1 * k)], (0.008, 0.008), "dark")
        for k in range(3)
    ]
    return [
        part("chimney", rectangle(0.28, 0.8, 0.44, 1.2, (160, 92, 78))),
        part("wall", rectangle(-0.6, 0, 0.6, 0.74, WALL)),
        part("roof", polygon([(-0.75, 0.7), (0, 1.3), (0.75, 0.7)]), details=tiles),
        part("window", rectangle(-0.5, 0.3, -0.23, 0.55, GLASS), details=frame),
        part("door", rectangle(0.1, 0, 0.37, 0.48, "accent"), details=knob),
    ]


def car(_: str) -> list[Part]:
    body = blob(
        [
            (-0.78, 0.2),
            (-0.8, 0.36),
            (-0.7, 0.47),
            (-0.3, 0.5),
            (0.3, 0.5),
            (0.66, 0.44),
            (0.8, 0.33),
            (0.79, 0.18),
            (0.4, 0.15),
            (-0.4, 0.15),
        ]
    )
    cabin = blob([(-0.52, 0.47), (-0.4, 0.72), (-0.2, 0.79), (0.15, 0.77), (0.3, 0.68), (0.45, 0.46), (0.0, 0.44)])
    lamps = [ellipse(0.74, 0.33, 0.05, 0.05, (255, 240, 170)), ellipse(-0.77, 0.35, 0.035, 0.05, (200, 40, 40))]
    handle = limb([(-0.1, 0.4), (-0.02, 0.4)], (0.012, 0.012), "dark")
    panes = (
        polygon([(-0.42, 0.5), (-0.33, 0.69), (-0.08, 0.71), (-0.08, 0.5)], GLASS),
        polygon([(-0.02, 0.5), (-0.02, 0.71), (0.16, 0.7), (0.33, 0.5)], GLASS),
    )
    return [
        part("roof", cabin),
        part("rear window", panes[0]),
        part("front window", panes[1]),
        part("body", body, details=[*lamps, handle]),
        *(
            part(name, ellipse(x, 0.16, 0.16, 0.16, RUBBER), details=[ellipse(x, 0.16, 0.085, 0.085, METAL)])
            for name, x in (("rear wheel", -0.45), ("front wheel", 0.46))
        ),
    ]


def flower(_: str) -> list[Part]:
    turns = [math.tau * k / 7 for k in range(7)]
    petals = [ellipse(0.2 * math.cos(t), 0.95 + 0.2 * math.sin(t), 0.16, 0.105, "base", math.degrees(t)) for t in turns]
    leaf = blob([(0.0, 0.18), (0.16, 0.4), (0.36, 0.46), (0.25, 0.25)], LEAF)
    other = blob([(0.0, 0.1), (-0.15, 0.33), (-0.32, 0.36), (-0.24, 0.16)], LEAF)
    return [
        part("stem", limb([(0, 0.02), (0.03, 0.45), (0, 0.9)], (0.035, 0.03, 0.03), LEAF)),
        part("leaves", leaf, other),
        part("petals", *petals),
        part("centre", ellipse(0, 0.95, 0.12, 0.12, "accent")),
    ]


def umbrella(_: str) -> list[Part]:
    scallops = [
        (0.7 - 0.35 * k - 0.175, 0.93) if odd else (0.7 - 0.35 * k, 0.86) for k in range(4) for odd in (False, True)
    ]
    edge = [(math.cos(math.pi * k / 12) * 0.7, 0.86 + math.sin(math.pi * k / 12) * 0.5) for k in range(13)]
    canopy = polygon([*edge, *((-x, y) for x, y in scallops[1:])])
    panels = [
        polygon([(-0.35, 0.86), (-0.175, 0.9), (0, 0.86), (0, 1.36)], "accent"),
        polygon([(0.35, 0.86), (0.52, 0.9), (0.7, 0.86), (0, 1.36)], "accent"),
    ]
    return [
        part(
            "pole",
            limb([(0, 1.0), (0, 0.03)], (0.028, 0.028), METAL),
            limb([(0, 1.34), (0, 1.43)], (0.02, 0.015), METAL),
        ),
        part("canopy", canopy, details=panels),
    ]


def table(_: str) -> list[Part]:
    legs = [rectangle(x - 0.045, 0, x + 0.045, 0.62, "shade") for x in (-0.56, 0.56)]
    return [
        part("legs", *legs),
        part("top", rectangle(-0.72, 0.62, 0.72, 0.74), details=[rectangle(-0.72, 0.62, 0.72, 0.66, "shade")]),
    ]


THINGS: dict[str, Callable[[str], list[Part]]] = {
    "ball": ball,
    "box": box,
    "car": car,
    "flower": flower,
    "house": house,
    "table": table,
    "tree": tree,
    "umbrella": umbrella,
}
TOPS = {"box": Flat(-0.42, 0.42, 0.88), "table": Flat(-0.72, 0.72, 0.74)}
COVERS = {"umbrella": Flat(-0.7, 0.7, 0.86), "table": Flat(-0.51, 0.51, 0.62), "tree": Flat(-0.42, 0.42, 0.57)}
"""What an animal or thing can stand on, and what it can be under."""
