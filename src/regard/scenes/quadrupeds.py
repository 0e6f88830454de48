"""The animals with four legs: one skeleton in several poses, and a head and a tail for each kind."""

from collections.abc import Callable
from dataclasses import dataclass

from regard.scenes.shapes import Pair, Part, Shape, blob, ellipse, limb, part, placed, polygon

BLACK = (25, 24, 28)
WHITE = (250, 250, 248)
PINK = (232, 148, 150)
HORN = (242, 232, 205)


@dataclass(frozen=True)
class Build:
    """The proportions of a four-legged animal.

    `half` is half the length from hip to shoulder, `leg` the length of a leg, `girth` the radii of the body at hip,
    waist and chest, `limb` those of a leg at top, knee and foot; `neck` leads from the shoulder to the head.
    """

    half: float
    leg: float
    girth: tuple[float, float, float]
    limb: tuple[float, float, float]
    neck: Pair
    foot: str | tuple[int, int, int] = "base"
    lean: float = 0.8


@dataclass(frozen=True)
class Skeleton:
    """Where hip and shoulder are in a pose, and the way of each leg: right hind, left hind, right front, left front."""

    hip: Pair
    shoulder: Pair
    legs: tuple[tuple[Pair, Pair, Pair], ...]
    folded: bool = False


def raised(pose: str) -> str | None:
    """The side of what a pose raises: "left", "right" or None."""
    return pose.split()[2] if pose.startswith("raising its ") else None


def _skeleton(pose: str, build: Build) -> Skeleton:
    if pose == "sitting":
        return _sitting(build)
    if pose == "lying":
        return _lying(build)
    return _jumping(build) if pose == "jumping" else _standing(build, raised(pose))


def _standing(build: Build, up: str | None) -> Skeleton:
    half = build.half
    leg = build.leg
    foot = build.limb[2]
    high = leg + build.girth[1] * 0.8

    def hind(x: float) -> tuple[Pair, Pair, Pair]:
        return (x, high), (x - 0.05, leg * 0.52), (x, foot)

    def front(x: float, side: str) -> tuple[Pair, Pair, Pair]:
        if side == up:
            return (x - 0.02, high - 0.05), (x + 0.18, high - 0.5 * leg), (x + 0.29, high - 0.45 * (leg - 0.2))
        return (x, high), (x + 0.01, leg * 0.5), (x, foot)

    legs = hind(-half), hind(-half + 0.13), front(half, "right"), front(half + 0.10, "left")
    return Skeleton((-half, high), (half, high), legs)


def _sitting(build: Build) -> Skeleton:
    half = build.half
    leg = build.leg
    foot = build.limb[2]
    hip = (-half * 0.8, build.girth[0])
    shoulder = (half * 0.35, leg + build.girth[2] * 1.05)
    low = hip[1] * 0.95

    def hind(x: float) -> tuple[Pair, Pair, Pair]:
        return (x, low), (x + 0.11, low * 0.75), (x + 0.21, foot)

    def front(x: float) -> tuple[Pair, Pair, Pair]:
        return (x - 0.03, shoulder[1]), (x + 0.05, leg * 0.5), (x + 0.07, foot)

    return Skeleton(
        hip, shoulder, (hind(hip[0]), hind(hip[0] + 0.08), front(half * 0.5), front(half * 0.5 + 0.1)), True
    )


def _lying(build: Build) -> Skeleton:
    half = build.half
    foot = build.limb[2]
    hip = (-half, build.girth[0] * 0.98)
    shoulder = (half, build.girth[2] * 1.02)

    def hind(x: float) -> tuple[Pair, Pair, Pair]:
        return (x, hip[1] * 0.9), (x + 0.12, hip[1] * 0.55), (x + 0.22, foot)

    def front(x: float) -> tuple[Pair, Pair, Pair]:
        return (x, shoulder[1] * 0.6), (x + 0.12, foot * 1.2), (x + 0.30, foot)

    return Skeleton(hip, shoulder, (hind(-half), hind(-half + 0.08), front(half), front(half + 0.07)), True)


def _jumping(build: Build) -> Skeleton:
    half = build.half
    leg = build.leg
    hip = (-half, 0.28 + leg)
    shoulder = (half * 0.95, 0.50 + leg)

    def hind(x: float) -> tuple[Pair, Pair, Pair]:
        return (x, hip[1]), (x - 0.10, hip[1] - leg * 0.45), (x - 0.12 - leg * 0.45, hip[1] - leg * 0.75)

    def front(x: float) -> tuple[Pair, Pair, Pair]:
        return (x, shoulder[1] - 0.03), (x + 0.16, shoulder[1] - 0.1), (x + 0.12 + leg * 0.6, shoulder[1] + 0.02)

    return Skeleton(hip, shoulder, (hind(-half), hind(-half + 0.10), front(half), front(half + 0.06)))


def _leg(name: str, way: tuple[Pair, Pair, Pair], build: Build, folded: bool, near: bool) -> Part:
    """A leg, with its thigh when folded; the paw or hoof points forward, or on when the leg is lifted."""
    fill = "base" if near else "shade"
    top, knee, foot = build.limb
    solids: list[Shape] = [limb(way, (top, knee, foot), fill)]
    if folded and "hind" in name:
        solids.append(ellipse(way[0][0] + 0.03, way[0][1], build.girth[0] * 0.72, build.girth[0] * 0.82, fill, -20))
    x, y = way[2]
    paw = build.foot if isinstance(build.foot, tuple) else (build.foot if build.foot != "base" else fill)
    solids.append(ellipse(x + foot * 0.45, y + (0.0 if y <= foot else foot * 0.2), foot * 1.45, foot, paw))
    return part(name, *solids, fur=True)


def _four_legged(pose: str, build: Build, tail: Callable[[Skeleton, str], Part]) -> tuple[list[Part], Skeleton]:
    """Far legs, tail, body and near legs; the head is each kind's own. `tail` is given the skeleton and the pose."""
    frame = _skeleton(pose, build)
    names = "right hind leg", "left hind leg", "right front leg", "left front leg"
    legs = {
        name: _leg(name, way, build, frame.folded, "right" in name) for name, way in zip(names, frame.legs, strict=True)
    }
    hip = frame.hip
    chest = frame.shoulder
    waist = (hip[0] + chest[0]) / 2, (hip[1] + chest[1]) / 2 - 0.01
    trunk = limb((hip, waist, chest), build.girth, steps=7)
    belly = limb(
        [(x, y - r * 0.72) for (x, y), r in zip((hip, waist, chest), build.girth, strict=True)],
        (0.01, 0.05, 0.02),
        "light",
    )
    body = part("body", trunk, details=[belly] if pose != "sitting" else [], fur=True)
    order = [legs["left hind leg"], legs["left front leg"], tail(frame, pose), body]
    return [*order, legs["right hind leg"], legs["right front leg"]], frame


def eye(name: str, x: float, y: float, size: float, iris: tuple[int, int, int] = BLACK) -> Part:
    """A round eye with a glint; with another iris than black there is a pupil in it."""
    pupil = [] if iris == BLACK else [ellipse(x, y, size * 0.5, size * 0.8, BLACK)]
    glint = ellipse(x + size * 0.25, y + size * 0.35, size * 0.32, size * 0.32, WHITE)
    return part(name, ellipse(x, y, size, size * 1.1, iris), details=[*pupil, glint])


def _head_at(frame: Skeleton, build: Build, pose: str) -> Pair:
    """Where the head is: at the end of the neck, pushed forward when lying or jumping."""
    along, up = build.neck
    if pose == "lying":
        along = along + 0.06
        up = up * build.lean
    if pose == "jumping":
        along = along + 0.08
        up = up * 0.75
    return frame.shoulder[0] + along, frame.shoulder[1] + up


CAT = Build(0.27, 0.27, (0.145, 0.135, 0.135), (0.085, 0.058, 0.052), (0.10, 0.20))


def _cat_tail(frame: Skeleton, pose: str) -> Part:
    x = frame.hip[0] - 0.09
    y = frame.hip[1] + 0.02
    if pose in ("sitting", "lying"):
        way = [(x, 0.09), (x - 0.16, 0.05), (x - 0.27, 0.12), (x - 0.24, 0.22)]
    else:
        way = [(x, y), (x - 0.13, y + 0.06), (x - 0.18, y + 0.24), (x - 0.10, y + 0.38)]
    return part("tail", limb(way, (0.05, 0.048, 0.045, 0.04)), fur=True)


def cat(pose: str) -> list[Part]:
    parts, frame = _four_legged(pose, CAT, _cat_tail)
    return parts + placed(_cat_head(), *_head_at(frame, CAT, pose))


def _cat_head() -> list[Part]:
    """A cat's face looks at the viewer."""
    ear = [(-0.195, 0.02), (-0.185, 0.27), (-0.03, 0.14)]
    inner = [(-0.165, 0.09), (-0.163, 0.215), (-0.08, 0.14)]
    flip = [(-x, y) for x, y in ear], [(-x, y) for x, y in inner]
    whiskers = [
        polygon([(s * 0.07, -0.06 + d), (s * 0.19, -0.05 + 2.2 * d), (s * 0.19, -0.06 + 2.2 * d)], "dark")
        for s in (-1, 1)
        for d in (-0.02, 0.015)
    ]
    muzzle = [ellipse(-0.04, -0.075, 0.06, 0.05, "light"), ellipse(0.04, -0.075, 0.06, 0.05, "light")]
    mouth = [limb([(-0.05, -0.10), (-0.022, -0.115), (0, -0.085), (0.022, -0.115), (0.05, -0.10)], [0.007] * 5, "dark")]
    return [
        part("left ear", polygon(flip[0]), details=[polygon(flip[1], PINK)]),
        part("right ear", polygon(ear), details=[polygon(inner, PINK)]),
        part(
            "head",
            blob(
                [
                    (0, 0.155),
                    (0.15, 0.12),
                    (0.215, 0),
                    (0.16, -0.11),
                    (0, -0.155),
                    (-0.16, -0.11),
                    (-0.215, 0),
                    (-0.15, 0.12),
                ]
            ),
            details=[*muzzle, *whiskers, *mouth],
        ),
        eye("left eye", 0.085, 0.02, 0.042, (196, 214, 92)),
        eye("right eye", -0.085, 0.02, 0.042, (196, 214, 92)),
        part("nose", polygon([(-0.03, -0.045), (0.03, -0.045), (0, -0.08)], PINK)),
    ]


DOG = Build(0.31, 0.34, (0.125, 0.12, 0.155), (0.085, 0.058, 0.055), (0.15, 0.21))


def _dog_tail(frame: Skeleton, pose: str) -> Part:
    x = frame.hip[0] - 0.08
    y = frame.hip[1] + 0.05
    if pose in ("sitting", "lying"):
        return part("tail", limb([(x, 0.12), (x - 0.13, 0.08), (x - 0.22, 0.2)], (0.045, 0.04, 0.022)), fur=True)
    return part("tail", limb([(x, y), (x - 0.1, y + 0.11), (x - 0.07, y + 0.24)], (0.05, 0.042, 0.022)), fur=True)


def dog(pose: str) -> list[Part]:
    parts, frame = _four_legged(pose, DOG, _dog_tail)
    x, y = _head_at(frame, DOG, pose)
    neck = part("neck", limb([frame.shoulder, (x - 0.03, y)], (0.13, 0.10)), fur=True)
    return [*parts, neck, *placed(_dog_head(), x, y)]


def _dog_head() -> list[Part]:
    """A dog in profile: long muzzle, hanging ears, the tongue out."""
    mouth = limb([(0.30, -0.09), (0.2, -0.115), (0.13, -0.10)], (0.008, 0.008, 0.008), "dark")
    return [
        part("left ear", blob([(0.0, 0.13), (0.07, 0.17), (0.11, 0.08), (0.06, 0.02)], "shade")),
        part("tongue", limb([(0.2, -0.1), (0.215, -0.19)], (0.028, 0.035), PINK)),
        part(
            "head",
            ellipse(0, 0.01, 0.165, 0.155),
            limb([(0.04, -0.04), (0.15, -0.05), (0.27, -0.055)], (0.11, 0.088, 0.07)),
            details=[mouth],
        ),
        part("nose", ellipse(0.325, -0.02, 0.042, 0.036, BLACK)),
        eye("right eye", 0.075, 0.05, 0.03),
        part(
            "right ear",
            blob(
                [
                    (-0.05, 0.15),
                    (0.02, 0.11),
                    (0.0, -0.05),
                    (-0.045, -0.17),
                    (-0.125, -0.15),
                    (-0.15, 0.0),
                    (-0.12, 0.11),
                ],
                "accent",
            ),
        ),
    ]


HORSE = Build(0.31, 0.50, (0.155, 0.135, 0.16), (0.085, 0.043, 0.04), (0.27, 0.33), (58, 46, 42), 0.95)


def _horse_tail(frame: Skeleton, pose: str) -> Part:
    x = frame.hip[0] - 0.11
    y = frame.hip[1] + 0.07
    drop = max(y - 0.42, 0.06) if pose != "lying" else 0.05
    way = [(x, y), (x - 0.10, y - 0.02), (x - 0.15, (y + drop) / 2), (x - 0.13, drop)]
    return part("tail", limb(way, (0.035, 0.055, 0.065, 0.02), "accent"))


def horse(pose: str) -> list[Part]:
    parts, frame = _four_legged(pose, HORSE, _horse_tail)
    x, y = _head_at(frame, HORSE, pose)
    low = frame.shoulder
    mid = (low[0] * 0.5 + x * 0.5 - 0.02, low[1] * 0.5 + y * 0.5 + 0.02)
    neck = part("neck", limb([(low[0], low[1] + 0.01), mid, (x - 0.03, y - 0.02)], (0.15, 0.115, 0.095)), fur=True)
    crest = [(low[0] - 0.11, low[1] + 0.12), (mid[0] - 0.10, mid[1] + 0.06), (x - 0.09, y + 0.08), (x + 0.03, y + 0.10)]
    mane = part("mane", limb(crest, (0.03, 0.06, 0.055, 0.03), "accent"))
    return [*parts, neck, *placed(_horse_head(), x, y), mane]


def _horse_head() -> list[Part]:
    """A horse in profile: a long head that hangs forward."""
    nostril = [ellipse(0.25, -0.19, 0.014, 0.02, "dark"), limb([(0.24, -0.26), (0.17, -0.23)], (0.007, 0.007), "dark")]
    return [
        part("left ear", polygon([(0.0, 0.08), (0.05, 0.2), (0.08, 0.06)], "shade")),
        part("head", limb([(0.0, 0.0), (0.12, -0.1), (0.23, -0.22)], (0.11, 0.088, 0.068)), details=nostril, fur=True),
        part("right ear", polygon([(-0.06, 0.07), (-0.03, 0.21), (0.03, 0.09)])),
        eye("right eye", 0.065, -0.015, 0.026),
    ]


RABBIT = Build(0.13, 0.13, (0.205, 0.185, 0.15), (0.075, 0.055, 0.05), (0.13, 0.19))


def rabbit(pose: str) -> list[Part]:
    def tail(frame: Skeleton, pose: str) -> Part:
        return part("tail", ellipse(frame.hip[0] - 0.2, frame.hip[1] - 0.02, 0.075, 0.07, WHITE))

    parts, frame = _four_legged(pose, RABBIT, tail)
    parts = [_haunch(one, frame) if one.name == "right hind leg" and not frame.folded else one for one in parts]
    return parts + placed(_rabbit_head(), *_head_at(frame, RABBIT, pose), scale=1.1)


def _haunch(leg: Part, frame: Skeleton) -> Part:
    """A rabbit's hind leg has a big round thigh and a long foot, whatever it does."""
    x, y = frame.hip
    thigh = ellipse(x - 0.01, y - 0.07, 0.135, 0.13)
    return Part(leg.name, (*leg.solids, thigh), leg.details, leg.fur)


def _rabbit_head() -> list[Part]:
    """A rabbit in profile, with both long ears up."""
    inner = ellipse(-0.055, 0.28, 0.025, 0.13, PINK, 14)
    mouth = limb([(0.135, -0.035), (0.115, -0.06), (0.08, -0.065)], (0.007, 0.007, 0.007), "dark")
    cheek = ellipse(0.09, -0.05, 0.06, 0.045, "light")
    return [
        part("left ear", ellipse(0.045, 0.275, 0.05, 0.175, "shade", -8)),
        part("right ear", ellipse(-0.055, 0.275, 0.052, 0.18, "base", 14), details=[inner]),
        part("head", ellipse(0, 0, 0.145, 0.128, turn=-8), details=[cheek, mouth]),
        eye("right eye", 0.045, 0.03, 0.032),
        part("nose", ellipse(0.14, 0.005, 0.022, 0.018, PINK)),
    ]


ELEPHANT = Build(0.24, 0.27, (0.245, 0.26, 0.24), (0.12, 0.095, 0.095), (0.26, 0.12), "shade")


def _elephant_tail(frame: Skeleton, pose: str) -> Part:
    x = frame.hip[0] - 0.2
    y = frame.hip[1] + 0.06
    end = max(y - 0.3, 0.07)
    way = [(x, y), (x - 0.08, (y + end) / 2), (x - 0.09, end)]
    return part("tail", limb(way, (0.03, 0.02, 0.02)), ellipse(x - 0.09, end - 0.02, 0.032, 0.045, "dark"))


def elephant(pose: str) -> list[Part]:
    parts, frame = _four_legged(pose, ELEPHANT, _elephant_tail)
    x, y = _head_at(frame, ELEPHANT, pose)
    return [*parts, *placed(_elephant_head(y), x, y)]


def _elephant_head(high: float) -> list[Part]:
    """An elephant in profile; the trunk reaches down towards the ground and curls up at its end."""
    low = max(-0.46, 0.06 - high)
    way = [(0.10, -0.04), (0.22, -0.14), (0.25, low * 0.65), (0.28, low), (0.38, low + 0.04), (0.40, low + 0.12)]
    rings = [limb([(0.18, low * k), (0.31, low * k + 0.01)], (0.006, 0.006), "dark") for k in (0.45, 0.6, 0.75)]
    ear = [(-0.02, 0.17), (-0.16, 0.21), (-0.27, 0.1), (-0.26, -0.1), (-0.15, -0.22), (-0.06, -0.14), (-0.01, 0.0)]
    return [
        part("left ear", blob([(0.02, 0.15), (0.1, 0.25), (0.17, 0.2), (0.15, 0.08)], "shade")),
        part("head", ellipse(0.02, 0.01, 0.2, 0.2)),
        part("trunk", limb(way, (0.115, 0.095, 0.075, 0.06, 0.05, 0.042)), details=rings),
        part("tusk", limb([(0.13, -0.13), (0.22, -0.21), (0.33, -0.19)], (0.032, 0.028, 0.012), HORN)),
        eye("right eye", 0.10, 0.055, 0.026),
        part("right ear", blob(ear, "base"), details=[blob([(x * 0.8 - 0.03, y * 0.72) for x, y in ear], "accent")]),
    ]
