"""What an audit of a captioner is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regard.predictors.captions.options import CAPTURED, CaptionOptions


@dataclass(frozen=True)
class WordAuditSettings:
    """What is measured: maps by a `method` of words, of one `layer` and `head`, in the `row` of METHODS' settings; see
    `regard.Captioner`. `elsewhere` is how many other regions of its size each region is held against. `captions` says
    where captions are from that are given, None where the network makes its own."""

    method: str = CAPTURED
    layer: int | None = None
    head: int | None = None
    row: str = "predicting"
    prompt: str | None = None
    captions: Mapping[str, Any] | None = None
    elsewhere: int = 3
    seed: int = 0
    batch_size: int = 8
    skip_bad: bool = False

    @property
    def options(self) -> CaptionOptions:
        """The same as options of a caption, with its quick checks. Raises `UsageError` as these do."""
        layer, head = self.layer, self.head
        return CaptionOptions(self.prompt, method=self.method, row=self.row, layer=layer, head=head, check="quick")

    def as_json(self, layer: int | None) -> dict[str, Any]:
        """What decides the numbers; `layer` is the one that maps are of."""
        names = ("method", "head", "row", "prompt", "elsewhere", "seed")
        source = "made" if self.captions is None else dict(self.captions)
        return {name: getattr(self, name) for name in names} | {"layer": layer, "captions": source}
