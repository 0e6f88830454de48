"""How pictures are captioned, and by which method of METHODS each word gets its map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from regard.data.dataset import Picture
from regard.errors import UsageError, unknown
from regard.explanation import METHODS, Method
from regard.explanation.words import ROWS
from regard.explanation.words.checks import LEVELS

if TYPE_CHECKING:
    from torch import Tensor

    from regard.networks.captioners.attention import Capture
    from regard.networks.captioners.base import CaptionNetwork, PreparedPicture

CAPTURED = "cross_attention"
"""The method whose maps are captured while a caption is decoded; all others run on the finished one."""


@dataclass(frozen=True)
class CaptionInput:
    """A picture to describe, or to align a given `caption` with: of several captions that it has, the one at `which`,
    from 0."""

    picture: Picture
    caption: str | None = None
    which: int | None = None

    @property
    def name(self) -> str:
        return self.picture.name

    @property
    def file(self) -> str:
        """The name that its files have: the picture's, with the number of the caption where there are several."""
        path = PurePosixPath(self.name)
        return self.name if self.which is None else str(path.with_name(f"{path.stem}_{self.which}{path.suffix}"))


@dataclass(frozen=True)
class CaptionOptions:
    """The options of a caption and of its maps, None for a default; see `Captioner`. `support` is a file that holds a
    support model, in the place of the one beside the network.

    Raises `UsageError` for a method that is not of words, or takes no such setting.
    """

    prompt: str | None = None
    beams: int = 1
    limit: int | None = None
    method: str = CAPTURED
    row: str = "predicting"
    layer: int | None = None
    head: int | None = None
    start: int | None = None
    depends: bool = False
    check: str | None = None
    support: Path | str | None = None

    def __post_init__(self) -> None:
        methods = [method.name for method in METHODS if method.kind == "word"]
        if self.method not in METHODS:
            raise unknown("method", self.method, methods)
        if self.method not in methods:
            raise UsageError(
                f"{self.method} makes maps of pictures, not of words; for words there are {', '.join(methods)}"
            )
        if self.row not in ROWS:
            raise unknown("row", self.row, ROWS)
        if self.check is not None and self.check not in LEVELS:
            raise unknown("check", self.check, LEVELS)
        if self.support is not None and self.check is None:
            raise UsageError("--support says how checks of words become a probability; give --check with it")
        settings = {"row": None if self.row == ROWS[0] else self.row, **self._numbers()}
        for name, value in settings.items():
            if value is not None and name not in self._method.settings:
                raise UsageError(f"{self.method} takes no --{name}; leave it out, or choose another --method")

    def fitted(self, network: "CaptionNetwork") -> Self:
        """These options with the network's own length limit where there is none.

        Raises `UsageError` for what this network cannot do: the method, a layer, a head, a limit.
        """
        from regard.explanation.words.methods import check_fits
        from regard.networks.captioners.attention import Capture

        check_fits(self.method, network)
        return replace(
            self,
            limit=network.check(
                Capture(self.layer, "mean" if self.head is None else self.head), self.beams, self.limit
            ),
        )

    def capture(self, network: "CaptionNetwork") -> "Capture":
        """The attention that is recorded: by default the last layer's mean over heads."""
        from regard.networks.captioners.attention import Capture

        layer = network.layers - 1 if self.layer is None else self.layer
        return Capture(layer, "mean" if self.head is None else self.head)

    def method_maps(
        self, network: "CaptionNetwork", picture: "PreparedPicture", tokens: Sequence[int], row: str
    ) -> "Tensor":
        """(tokens, rows, columns): the method's maps of a finished caption."""
        import numpy as np
        import torch

        settings = {"row": row, **self._numbers()}
        settings = {name: value for name, value in settings.items() if name in self._method.settings}
        chosen = {name: value for name, value in settings.items() if value is not None}
        maps = METHODS.load(self.method)(network, picture, tokens, **chosen)
        return torch.from_numpy(np.array(maps, np.float32))  # a copy, as a method's own may be read-only

    def as_json(self, network: "CaptionNetwork", source: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All that decides captions and maps; `source` says which captions were given, if they were."""
        capture = self.capture(network)
        text = {"beams": self.beams, "limit": self.limit} if source is None else source
        layers = {"start": self.start} if self.start is not None else {"start": None, **vars(capture)}
        return {
            "prompt": self.prompt,
            **text,
            "method": self.method,
            "row": self.row,
            **{name: value for name, value in layers.items() if name in self._method.settings},
            **({"depends": True} if self.depends else {}),
            **self._checks(network),
        }

    def _checks(self, network: "CaptionNetwork") -> dict[str, Any]:
        """Which words' checks there are, and what the network lacks for the others."""
        if self.check is None:
            return {}
        from regard.explanation.words.checks.run import fitting_checks, missing_checks

        names = fitting_checks(network, self.check)
        return {"check": self.check, "checks": list(names), "missing_checks": missing_checks(network, self.check)}

    @property
    def _method(self) -> Method:
        return METHODS[self.method]

    def _numbers(self) -> dict[str, int | None]:
        return {"layer": self.layer, "head": self.head, "start": self.start}
