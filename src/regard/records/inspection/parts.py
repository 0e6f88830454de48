"""What an inspection is made of, beside its arrays of maps."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.records.captions import WordSupport
from regard.records.display import Readable, counted
from regard.records.grid import Box

PREFIX = 65535
"""The index that stands for a token outside the picture (CLS, registers) among keys."""
MOST_ON_A_PAGE = 500
"""Inspections that one file may hold; a folder of more is for the app."""
PER_PATCH = 8
"""How many keys are held of each patch."""


@dataclass(frozen=True, repr=False)
class InspectedPicture(Readable):
    """The picture as it is drawn: the bytes of a JPEG, of `height` × `width` pixels."""

    content: bytes
    height: int
    width: int
    type: str = "image/jpeg"

    def __str__(self) -> str:
        return f"{self.width} × {self.height}, {len(self.content) / 1000:.0f} kB"


@dataclass(frozen=True, repr=False)
class Answer(Readable):
    """What a network says the picture shows: the likeliest classes by name with their probabilities, best first, and
    the true one, where it is known. `seen`: the network was trained on this picture; `flips`, where that was tried:
    another background gives another answer."""

    probabilities: tuple[tuple[str, float], ...]
    true: str | None = None
    seen: bool = False
    flips: bool | None = None

    def __str__(self) -> str:
        name, share = self.probabilities[0]
        return f"{name} {share:.3f}{'' if self.true is None else f', true {self.true}'}"

    @property
    def predicted(self) -> str:
        return self.probabilities[0][0]

    @property
    def runner_up(self) -> str | None:
        return self.probabilities[1][0] if len(self.probabilities) > 1 else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "predicted": self.predicted, "runner_up": self.runner_up}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        probabilities = tuple((name, float(share)) for name, share in stored["probabilities"])
        if not probabilities:
            raise ValueError("an answer without a class")
        return cls(probabilities, stored["true"], stored["seen"], stored["flips"])


@dataclass(frozen=True, repr=False)
class Keys(Readable):
    """The strongest keys of each patch, mean over heads, of some `layers`: `indices` (layers, patches, keys) uint16 of
    patches, `PREFIX` for a token outside the picture, and `levels` uint8 like it. A level b is a weight of (b / 255)² ·
    `highest` of its layer."""

    layers: tuple[int, ...]
    indices: NDArray[np.uint16]
    levels: NDArray[np.uint8]
    highest: tuple[float, ...]

    @classmethod
    def of(cls, layers: Sequence[int], attention: NDArray[Any], prefix: int) -> Self:
        """From attention (layers, patches, tokens), the mean over heads, of the patches' rows: prefix tokens first.

        >>> keys = Keys.of([0], np.array([[[0.5, 0.0, 0.5], [0.125, 0.375, 0.5]]]), prefix=1)
        >>> keys.indices.tolist(), keys.weights().round(2).tolist()
        ([[[65535, 1], [1, 0]]], [[[0.5, 0.5], [0.5, 0.38]]])
        """
        weights = np.asarray(attention)
        count = min(PER_PATCH, weights.shape[2] - prefix)
        some = np.sort(np.argpartition(-weights, count - 1, axis=2)[..., :count], axis=2)  # to sort all takes longer
        order = np.argsort(-np.take_along_axis(weights, some, axis=2), axis=2, kind="stable")
        best = np.take_along_axis(some, order, axis=2)
        strongest = np.take_along_axis(weights, best, axis=2)  # (layers, patches, keys)
        highest = strongest.max(axis=(1, 2))
        share = strongest / np.where(highest > 0, highest, 1)[:, None, None]
        levels = np.rint(255 * np.sqrt(np.clip(share, 0, 1))).astype(np.uint8)
        indices = np.where(best < prefix, PREFIX, best - prefix).astype(np.uint16)
        return cls(tuple(layers), indices, levels, tuple(map(float, highest)))

    def __str__(self) -> str:
        layers, patches, count = self.indices.shape
        return f"{count} keys of {patches} patches in {counted(layers, 'layer')}"

    def weights(self) -> NDArray[np.float64]:
        """(layers, patches, keys): what the levels stand for."""
        return np.square(self.levels / 255) * np.array(self.highest)[:, None, None]


@dataclass(frozen=True, repr=False)
class Lens(Readable):
    """What each patch's token would be read as behind some `layers`: `classes` (layers, patches) uint16, indices into
    `names`, and `levels` uint8 like it, each a probability of b / 255."""

    layers: tuple[int, ...]
    classes: NDArray[np.uint16]
    levels: NDArray[np.uint8]
    names: tuple[str, ...]

    @classmethod
    def of(cls, layers: Sequence[int], best: NDArray[Any], probabilities: NDArray[Any], names: Sequence[str]) -> Self:
        """From the likeliest class of each patch (layers, patches), an index into `names`, and its probability; names
        that do not occur are left out.

        >>> lens = Lens.of([0], np.array([[1, 1]]), np.array([[0.8, 1.0]]), ["a", "b", "c"])
        >>> lens.names, lens.classes.tolist(), lens.levels.tolist()
        (('b',), [[0, 0]], [[204, 255]])
        """
        present, classes = np.unique(best, return_inverse=True)
        if len(present) >= PREFIX:
            raise DataError(f"{len(present)} classes in one picture are more than an inspection can name")
        levels = np.rint(255 * np.clip(probabilities, 0, 1)).astype(np.uint8)
        indices = classes.reshape(best.shape).astype(np.uint16)
        return cls(tuple(layers), indices, levels, tuple(names[index] for index in present))

    def __str__(self) -> str:
        layers, patches = self.classes.shape
        return f"{len(self.names)} classes read at {patches} patches behind {counted(layers, 'layer')}"


@dataclass(frozen=True, repr=False)
class ArtifactTokens(Readable):
    """The patches whose tokens are artifacts (norms far above the others'), and the `share` of the attention in the
    last layer that goes to them."""

    tokens: tuple[int, ...]
    share: float

    def __str__(self) -> str:
        return f"{counted(len(self.tokens), 'artifact token')}, which take {self.share:.1%} of the attention"


@dataclass(frozen=True, repr=False)
class InspectedMap(Readable):
    """A map of a method: number `index` of the array `array` ("maps" or "signed_maps"). `target` is the class it is
    of, held `against` another. `description` says what the method shows. `verdict` is {"status", "text"} of an audit;
    `curve` {"occluder", "mif", "lif", "srg"}; of no class's map `curves` has it by the name of each class that is
    asked about. `control`: it is planted, and looks at nothing."""

    method: str
    label: str
    array: str
    index: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    against: str | None = None
    signed: bool = False
    verdict: Mapping[str, str] | None = None
    curve: Mapping[str, Any] | None = None
    control: bool = False
    description: str = ""
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        against = "" if self.against is None else f" against {self.against}"
        return f"{self.method}{'' if self.target is None else f' of {self.target}'}{against}"


@dataclass(frozen=True, repr=False)
class InspectedWord(Readable):
    """A word of a caption; `index` is its map's in the array "words". `without` is its probability without the picture;
    `truth` {"box": [left, top, right, bottom]} in pixels or {"mask": name of an array}; `wrong`: it is not true.
    `support` says how far the picture supports it, `checks` are the numbers behind that, by name, None where one has no
    value."""

    text: str
    part: str | None = None
    probability: float | None = None
    alternatives: tuple[tuple[str, float], ...] = ()
    without: float | None = None
    index: int | None = None
    truth: Mapping[str, str | Box] | None = None
    wrong: bool | None = None
    support: WordSupport | None = None
    checks: Mapping[str, float | None] | None = None

    def __str__(self) -> str:
        return self.text

    def as_json(self) -> dict[str, Any]:
        """Its fields; of support and checks those that are there."""
        return {name: value for name, value in asdict(self).items() if value is not None or name not in _NEWER}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        alternatives = tuple((text, float(share)) for text, share in stored["alternatives"])
        support = stored.get("support")
        support = None if support is None else WordSupport.from_json(support)
        return cls(**{**stored, "alternatives": alternatives, "support": support})


_NEWER = ("support", "checks")
"""Fields that inspections had not from the beginning, and that stand there only with a value."""


@dataclass(frozen=True, repr=False)
class InspectedCaption(Readable):
    """A caption, word by word; `measured` says what the support of its words was measured on, or why there is none."""

    text: str
    words: tuple[InspectedWord, ...]
    measured: str | None = None

    def __str__(self) -> str:
        return self.text

    def as_json(self) -> dict[str, Any]:
        measured = {} if self.measured is None else {"measured": self.measured}
        return {"text": self.text, "words": [word.as_json() for word in self.words], **measured}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        words = tuple(map(InspectedWord.from_json, stored["words"]))
        return cls(stored["text"], words, stored.get("measured"))
