"""A method over pictures as a piece of work: its maps one by one, and what is said of all of them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any

from PIL import Image

from regard.app.asking import Asked, described
from regard.data.dataset import Dataset, skipper
from regard.data.images.decode import Size, open_reduced
from regard.data.openers import Source
from regard.explanation import Method
from regard.explanation.pictures.explain import heatmaps
from regard.networks.network import Network
from regard.networks.provenance import provenance
from regard.records import Explanation, Heatmap


@dataclass(frozen=True)
class Work:
    """What is to be done: a method, with its settings, over pictures."""

    network: Network
    pictures: Dataset
    row: Method
    settings: Mapping[str, Any]
    asked: Asked
    batch_size: int
    workers: int
    skip_bad: bool

    def maps(self, start: int = 0) -> Iterator[tuple[int, Heatmap]]:
        """The maps from a picture on, each with the picture's index; batches begin at `start`."""
        rest = self.pictures.select(range(start, len(self.pictures)))
        index = {name: start + place for place, name in enumerate(rest.names)}
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "workers": self.workers,
            "on_bad": skipper(self.skip_bad),
        }
        for heatmap in heatmaps(self.network, rest, self.row.name, self.settings, **options):
            yield index[heatmap.name], self._with_prediction(heatmap)

    def _with_prediction(self, heatmap: Heatmap) -> Heatmap:
        """Where a map's target was not chosen, it is what the network predicted."""
        chosen = self.settings.get("target") is not None or not self.row.class_specific
        if heatmap.predicted is not None or chosen or not isinstance(heatmap.target, int):
            return heatmap
        return replace(heatmap, predicted=heatmap.target)

    @cached_property
    def about(self) -> Explanation:
        """The explanation, without its maps."""
        said = described(self.row, self.settings, self.network)
        classes = self.network.classes or ()
        return Explanation((), self.row.name, self.row.signed, said, provenance(self.network), classes)

    def with_maps(self, *heatmaps: Heatmap) -> Explanation:
        """The explanation with these maps."""
        return replace(self.about, heatmaps=heatmaps)

    def fingerprint(self, plan: Any) -> str:
        """A hash of all that decides the result's bytes; `plan` is a dataclass of what comes out."""
        about = [
            self.about.settings,
            self.about.provenance,
            self.about.classes,
            self.row.name,
            str(self.network.device),
        ]
        rest = [{**self.settings}, vars(self.asked), self.batch_size, self.pictures.names, vars(plan)]
        return hashlib.sha256(json.dumps([about, rest], sort_keys=True, default=str).encode()).hexdigest()


def drawable(source: Source, longest: int) -> Image.Image:
    """A picture to be drawn at `longest` pixels or less: whole, but of a large JPEG only a fraction is decoded."""

    def smallest(size: Size) -> Size:
        share = min(1.0, 2 * longest / max(size))
        return ceil(size[0] * share), ceil(size[1] * share)

    return open_reduced(source, smallest)[0]


def thumbnail(source: Source, longest: int) -> Image.Image:
    """The same, made small, to be kept beside others."""
    image = drawable(source, longest)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return image
