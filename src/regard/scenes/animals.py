"""How each kind of animal is drawn: its parts from back to front, facing right, its feet on y = 0.

An animal that faces right shows its right side. So in these drawings the near legs, wings and ears are the right
ones; of a face that looks out of the picture the eye and ear on the viewer's right are the left ones.
"""

from collections.abc import Callable

from regard.scenes.quadrupeds import cat, dog, elephant, eye, horse, rabbit, raised
from regard.scenes.shapes import Part, blob, ellipse, limb, part, placed, polygon

_LEG_POSES = ("standing", "sitting", "lying")


def bird(pose: str) -> list[Part]:
    """A plump songbird in profile; flying, both wings are up and the feet drawn in."""
    flying = pose == "flying"
    up = raised(pose)
    wings = {side: _wing(side, flying, side == up) for side in ("left", "right")}
    legs = [] if flying else [_bird_leg("left", 0.06), _bird_leg("right", -0.04)]
    tail = part(
        "tail", blob([(-0.3, 0.0), (-0.52, 0.1), (-0.66, 0.12), (-0.66, 0.02), (-0.5, -0.08), (-0.3, -0.1)], "shade")
    )
    shape = [(-0.36, 0.0), (-0.2, 0.13), (0.05, 0.18), (0.27, 0.1), (0.3, -0.06), (0.12, -0.21), (-0.12, -0.18)]
    body = part("body", blob(shape), details=[ellipse(0.13, -0.09, 0.15, 0.11, "light", 20)], fur=True)
    whole = [wings["left"], tail, *legs, body, *_bird_head(), wings["right"]]
    return placed(whole, 0, 0.95 if flying else 0.42, 12 if flying else 0)


def _bird_leg(side: str, x: float) -> Part:
    orange = (226, 140, 52)
    toes = limb([(x - 0.07, -0.395), (x + 0.09, -0.395)], (0.02, 0.018), orange)
    return part(f"{side} leg", limb([(x, -0.15), (x + 0.01, -0.39)], (0.026, 0.022), orange), toes)


def _wing(side: str, flying: bool, up: bool) -> Part:
    fill = "accent" if side == "right" else "shade"
    if flying or up:
        spread = [
            (0.1, 0.05),
            (0.08, 0.3),
            (-0.06, 0.56),
            (-0.24, 0.66),
            (-0.3, 0.46),
            (-0.3, 0.3),
            (-0.22, 0.05),
            (-0.05, -0.03),
        ]
        move = 0.0 if side == "right" else 0.16
        shape = [(x + move, y) for x, y in spread]
        lines = [limb([(x + move, 0.12), (x - 0.1 + move, 0.45)], (0.008, 0.008), "dark") for x in (-0.14, -0.05)]
    else:
        shape = [(0.12, 0.04), (-0.02, 0.11), (-0.25, 0.05), (-0.45, -0.04), (-0.24, -0.11), (0.02, -0.1)]
        lines = [limb([(-0.05, y), (-0.28, y - 0.01)], (0.008, 0.008), "dark") for y in (-0.01, -0.05)]
    return part(f"{side} wing", blob(shape, fill), details=lines)


def _bird_head() -> list[Part]:
    return [
        part(
            "beak",
            polygon([(0.38, 0.24), (0.54, 0.175), (0.37, 0.14)], (240, 170, 60)),
            details=[limb([(0.36, 0.19), (0.52, 0.177)], (0.006, 0.006), (150, 90, 30))],
        ),
        part("head", ellipse(0.25, 0.19, 0.155, 0.15)),
        eye("right eye", 0.30, 0.215, 0.032),
    ]


def fish(pose: str) -> list[Part]:
    """A fish in profile, somewhat above the ground; jumping, it leaps up steeply."""
    shape = [
        (0.44, 0.0),
        (0.33, 0.13),
        (0.1, 0.23),
        (-0.15, 0.18),
        (-0.34, 0.04),
        (-0.34, -0.05),
        (-0.15, -0.18),
        (0.1, -0.22),
        (0.33, -0.12),
    ]
    tail = [
        (-0.3, 0.0),
        (-0.45, 0.12),
        (-0.6, 0.23),
        (-0.57, 0.08),
        (-0.52, 0.0),
        (-0.57, -0.1),
        (-0.6, -0.24),
        (-0.45, -0.13),
    ]
    gill = limb([(0.22, 0.13), (0.17, 0.0), (0.21, -0.13)], (0.009, 0.009, 0.009), "dark")
    mouth = limb([(0.43, -0.03), (0.36, -0.05)], (0.009, 0.007), "dark")
    whole = [
        part("left fin", blob([(0.08, -0.15), (0.0, -0.29), (-0.1, -0.31), (-0.05, -0.15)], "shade")),
        part("dorsal fin", blob([(0.16, 0.18), (0.05, 0.33), (-0.12, 0.35), (-0.22, 0.25), (-0.2, 0.12)], "accent")),
        part("tail", blob(tail, "accent")),
        part("body", blob(shape), details=[ellipse(0.05, -0.17, 0.25, 0.06, "light"), gill, mouth], fur=True),
        eye("right eye", 0.30, 0.05, 0.04, (240, 240, 225)),
        part("right fin", blob([(0.1, -0.03), (-0.02, 0.02), (-0.13, -0.05), (-0.1, -0.15), (0.02, -0.13)], "accent")),
    ]
    if pose == "jumping":
        return placed(whole, 0, 0.85, 38)
    return placed(whole, 0, 0.22 if pose == "lying" else 0.45)


def turtle(pose: str) -> list[Part]:
    """A turtle in profile under its high shell."""
    up = raised(pose)
    dome = [(-0.42, 0.16), (-0.38, 0.32), (-0.2, 0.5), (0.02, 0.54), (0.24, 0.46), (0.38, 0.3), (0.42, 0.16)]
    plates = [
        polygon(
            [
                (x - 0.1, y),
                (x - 0.05, y + 0.11),
                (x + 0.06, y + 0.11),
                (x + 0.11, y),
                (x + 0.05, y - 0.1),
                (x - 0.05, y - 0.1),
            ],
            "shade",
        )
        for x, y in ((-0.24, 0.28), (0.0, 0.36), (0.24, 0.27))
    ]
    high = 0.0 if pose == "lying" else 0.1
    legs = (
        []
        if pose == "lying"
        else [
            _turtle_leg(name, x, name.startswith(up or "no") and "front" in name)
            for name, x in (
                ("left hind leg", -0.2),
                ("left front leg", 0.3),
                ("right hind leg", -0.29),
                ("right front leg", 0.2),
            )
        ]
    )
    whole = [
        *legs[:2],
        part("tail", polygon([(-0.36, 0.2), (-0.56, 0.1), (-0.36, 0.1)], "accent")),
        part("neck", limb([(0.32, 0.18), (0.47, 0.24), (0.54, 0.34)], (0.085, 0.075, 0.08), "accent")),
        part(
            "head",
            limb([(0.53, 0.38), (0.63, 0.37)], (0.105, 0.085), "accent"),
            details=[limb([(0.72, 0.335), (0.63, 0.325)], (0.007, 0.007), "dark")],
        ),
        eye("right eye", 0.60, 0.41, 0.026),
        *legs[2:],
        part("shell", blob([*dome, (0.3, 0.1), (-0.3, 0.1)]), details=plates, fur=True),
    ]
    return placed(whole, -0.05, high - 0.1 if pose == "lying" else 0.0)


def _turtle_leg(name: str, x: float, up: bool) -> Part:
    way = [(x, 0.2), (x + 0.17, 0.14), (x + 0.28, 0.2)] if up else [(x, 0.2), (x + 0.02, 0.1), (x + 0.03, 0.05)]
    return part(name, limb(way, (0.09, 0.075, 0.06), "accent"))


_PAWS = "raising its left paw", "raising its right paw"
_LEGS = "raising its left leg", "raising its right leg"
_WINGS = "raising its left wing", "raising its right wing"

ANIMALS: dict[str, tuple[Callable[[str], list[Part]], tuple[str, ...]]] = {
    "bird": (bird, ("standing", "flying", *_WINGS)),
    "cat": (cat, (*_LEG_POSES, "jumping", *_PAWS)),
    "dog": (dog, (*_LEG_POSES, "jumping", *_PAWS)),
    "elephant": (elephant, (*_LEG_POSES, *_LEGS)),
    "fish": (fish, ("swimming", "jumping", "lying")),
    "horse": (horse, ("standing", "lying", "jumping", *_LEGS)),
    "rabbit": (rabbit, (*_LEG_POSES, "jumping", *_PAWS)),
    "turtle": (turtle, ("standing", "lying", *_LEGS)),
}
"""Each kind of animal: how it is drawn in a pose, and the poses it knows."""
