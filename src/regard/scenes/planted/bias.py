"""A shortcut that is planted in a folder of scenes: in a share of the pictures the ground goes with the class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regard.errors import UsageError, unknown
from regard.scenes.animals import ANIMALS
from regard.scenes.facts import GROUNDS
from regard.scenes.sampling import Chance

BIASES = ("ground",)
"""What can be made to go with the class."""
GROUND_OF = {kind: GROUNDS[place % len(GROUNDS)] for place, kind in enumerate(sorted(ANIMALS))}
"""The ground that goes with each class, the same for every seed: a folder can be held against another."""
FOLLOWS = "follows"
CONFLICTS = "conflicts"
"""The values of the column `bias` of a folder in which one was planted."""


@dataclass(frozen=True)
class Bias:
    """In a share of `ground` (0 to 1) of each class's pictures the ground is the class's own; the other pictures lie
    evenly on the other grounds. One in as many as there are grounds is no bias, and 0 is that none has its own. In the
    split `val` the share is `val`, where that is set: what was learnt from the one can be asked of the other."""

    ground: float
    val: float | None = None

    @classmethod
    def of(cls, text: str) -> "Bias":
        """From NAME=SHARE, like "ground=0.95", or "ground=0.95,val=0.5". Raises `UsageError` for any other text."""
        first, comma, second = text.partition(",")
        if comma and second.partition("=")[0].strip() == "val":
            return replace(cls.of(first), val=cls.of(second.replace("val", BIASES[0], 1)).ground)
        name, sign, number = text.partition("=")
        if not sign:
            raise UsageError(f"a bias is NAME=SHARE; got {text!r}; give ground=0.95, for example")
        if name.strip() not in BIASES:
            raise unknown("bias", name.strip(), BIASES)
        try:
            share = float(number)
        except ValueError:
            share = float("nan")
        if not 0 <= share <= 1:
            raise UsageError(
                f"the share of a bias is a number from 0 to 1; got {number.strip()!r}; give ground=0.95, for example"
            )
        return cls(share)

    def grounds(self, labels: Sequence[str], splits: Sequence[str], seed: int) -> list[str]:
        """The ground of each picture, by chance: as near to the share as can be of all, and within one picture of it in
        every class of every split."""
        chance = Chance(f"{seed} bias")
        order = sorted((chance.random(), place) for place in range(len(labels)))
        groups: dict[tuple[str, str], list[int]] = {}
        for _, place in order:
            groups.setdefault((splits[place], labels[place]), []).append(place)
        grounds = [""] * len(labels)
        counted = {self.ground: 0}  # pictures so far by their share: what one class rounds up the next gives back
        for (split, label), members in sorted(groups.items()):
            share = self.ground if self.val is None or split != "val" else self.val
            before = counted.get(share, 0)
            counted[share] = before + len(members)
            following = round(share * counted[share]) - round(share * before)
            others = [ground for ground in GROUNDS if ground != GROUND_OF[label]]
            first = int(chance.random() * len(others))
            for rank, place in enumerate(members):
                other = others[(first + rank) % len(others)]
                grounds[place] = GROUND_OF[label] if rank < following else other
        return grounds

    def report(self, labels: Sequence[str], grounds: Sequence[str]) -> dict[str, Any]:
        """What a manifest says: the share that was wanted, how many pictures follow, and the classes' grounds."""
        count = Counter(bias_of(label, ground) for label, ground in zip(labels, grounds, strict=True))
        by_class = {label: GROUND_OF[label] for label in sorted(set(labels))}
        more = {} if self.val is None else {"val": self.val}
        return {
            "ground": {"share": self.ground, **more, "follows": count[FOLLOWS], "of": len(labels), "grounds": by_class}
        }


def bias_of(label: str, ground: str) -> str:
    """Whether a picture of this class on this ground follows the bias, or conflicts with it."""
    return FOLLOWS if GROUND_OF[label] == ground else CONFLICTS


def in_words(report: Mapping[str, Any]) -> str:
    """A sentence of what `Bias.report` gave, for people."""
    planted = report["ground"]
    pairs = ", ".join(f"{label} on {ground}" for label, ground in planted["grounds"].items())
    share = f"{planted['follows'] / planted['of']:.1%}, {1 / len(GROUNDS):.1%} by chance"
    return f"planted: the ground goes with the class in {planted['follows']} of {planted['of']} ({share}): {pairs}"
