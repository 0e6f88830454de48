"""`regard.Explainer`: a network that is loaded once and says of any number of pictures in memory where it looks."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from regard.data.dataset import Picture
from regard.errors import DataError
from regard.explanation import Method, method_named
from regard.explanation.pictures.explain import at_precision_of, batch_heatmaps, warn_incomplete
from regard.networks.network import Network
from regard.predictors.inputs import PictureLike, Pictures, input_batches, pictures_of
from regard.predictors.method_options import MethodOptions, described, report_precision
from regard.predictors.predictor import Predictor
from regard.predictors.removal import check_curves, with_curves
from regard.records import Completeness, Explanation, Heatmap

log = logging.getLogger("regard")


@dataclass(frozen=True)
class ExplanationJob:
    """A method, with its settings, for any pictures: their maps come one by one, in order.

    `workers` threads read ahead, or none. A picture that cannot be read is an error, unless `on_bad` takes it. Maps of
    pictures whose hash is among `learnt` say that the network has seen them. With `curve` each map has its removal
    curves.
    """

    network: Network
    method: Method
    options: MethodOptions
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    batch_size: int = 8
    workers: int = 0
    on_bad: Callable[[Picture, DataError], None] | None = None
    learnt: frozenset[str] = frozenset()
    curve: bool = False
    verdict: str = ""

    def heatmaps(self, pictures: Sequence[Picture], start: int = 0) -> Iterator[tuple[int, Heatmap]]:
        """The maps from the picture `start` on, where batches begin, each with its picture's index.

        Memory does not grow with their number.
        """
        rest = pictures[start:]
        for batch in input_batches(self.network, rest, self.batch_size, self.workers, self.on_bad):
            rows = [rest[index] for index in batch.indices]
            maps: Iterable[Heatmap] = batch_heatmaps(
                self.network, batch.pixels, rows, batch.sizes, self.method.name, self.settings, batch.preparation
            )
            if self.curve:
                maps = with_curves(self.network, batch.pixels, maps, self.options.seed)
            for index, heatmap in zip(batch.indices, maps, strict=True):
                learnt = bool(self.learnt) and rest[index].opener.digest() in self.learnt
                yield start + index, replace(self.with_prediction(heatmap), seen=learnt)

    @cached_property
    def about(self) -> Explanation:
        """The explanation, without its maps."""
        description = described(self.method, self.settings, self.network)
        classes = self.network.classes or ()
        about = (self.method.name, self.method.signed, description, self.provenance, classes, self.verdict)
        return Explanation((), *about)

    def with_maps(self, *heatmaps: Heatmap) -> Explanation:
        """The explanation with these maps."""
        return replace(self.about, heatmaps=heatmaps)

    def warn_incomplete(self, records: Iterable[Completeness | None]) -> bool:
        """Say in one line how far the sums of maps are off, where that is much; whether it is."""
        return warn_incomplete(self.method.name, self.about.settings, records)

    def fingerprint(self, names: Sequence[str], plan: Any) -> str:
        """A hash of all that decides the bytes of a result of pictures with these names; `plan` is a dataclass of what
        is written."""
        about = [
            self.about.settings,
            self.about.provenance,
            self.about.classes,
            self.method.name,
            str(self.network.device),
        ]
        rest = [{**self.settings}, vars(self.options), self.batch_size, list(names), vars(plan)]
        rest += ["curve"] * self.curve + [self.verdict] * bool(self.verdict)
        return hashlib.sha256(json.dumps([about, rest], sort_keys=True, default=str).encode()).hexdigest()

    def report_curves(self, heatmaps: Iterable[Heatmap]) -> None:
        """Say in one line what the symmetric relevance gain of the maps is, and what it may be held against."""
        gains = np.array([heatmap.curve.srg for heatmap in heatmaps if heatmap.curve is not None])
        if len(gains):
            log.info(
                f"{self.method.name}: SRG {gains.mean():.3f}, the mean of {len(gains)} maps ({gains.min():.3f} to "
                f"{gains.max():.3f}); a random map has 0, and `--method edges --curve` and centre are what to beat"
            )

    def with_prediction(self, heatmap: Heatmap) -> Heatmap:
        """Where a map's target was not chosen, it is what the network predicted."""
        chosen = self.settings.get("target") is not None or not self.method.class_specific
        if heatmap.predicted is not None or chosen or not isinstance(heatmap.target, int):
            return heatmap
        return replace(heatmap, predicted=heatmap.target)


class Explainer(Predictor):
    """Where a network looks in a picture, by any of `regard.METHODS`.

    It takes what `--model` takes, or any module, which comes back from every call as it was:

    >>> import numpy, timm
    >>> from regard import Explainer
    >>> module = timm.create_model("vit_tiny_patch16_224", num_classes=2)
    >>> explainer = Explainer(module, classes=["cat", "dog"])
    >>> picture = numpy.random.default_rng(0).integers(0, 256, (300, 400, 3), "uint8")
    >>> explanation = explainer(picture, method="gradcam", target="cat")
    >>> explanation.maps.shape  # one picture, rows and columns of patches
    (1, 14, 14)
    >>> explanation.upsampled().shape  # at the picture's own size, NaN where the network did not look
    (300, 400)
    >>> explanation.overlay().size
    (400, 300)

    Of a list there is one record for all; of a generator, or of more pictures than results fit into memory, `stream`
    yields one record after the other:

    >>> for each in explainer.stream((picture for _ in range(2)), method="rollout"):
    ...     each.maps.shape
    (1, 14, 14)
    (1, 14, 14)
    """

    def __call__(
        self,
        pictures: Pictures,
        method: str = "attention",
        *,
        prepared: bool = False,
        batch_size: int = 8,
        workers: int = 0,
        curve: bool = False,
        **settings: Any,
    ) -> Explanation:
        """A map for each picture; one picture gives a record with one map.

        A picture is a path, an image of Pillow's, an array (height, width, 3) or (height, width) of uint8, uint16 or
        floats in 0..1, or a tensor (3, height, width) of the same; a tensor (batch, 3, height, width) is several. With
        `prepared` they are tensors that are normalised already, at the network's size. `workers` threads read ahead.
        With `curve` each map says what becomes of its class while its patches go, most influential first and least
        first (`heatmap.curve`), at about 20 forwards. `settings` are those of the method, as `MethodSettings` has
        them: `target`, a class by name or index, by default the predicted one, `against` one that it is held against,
        `layer`, `head`, `query` and others; what a method takes of these stands in `regard.METHODS`.

        Raises `UsageError` for a setting that the method does not take, an unknown class or an iterator (see
        `stream`), `DataError` for a picture that cannot be one, and `NetworkError` where the network has not what the
        method needs.
        """
        reading = {"batch_size": batch_size, "workers": workers, "curve": curve}
        job = self.job(method, MethodOptions.of(settings), **reading)
        rows = pictures_of(pictures, self.network, prepared)
        explanation = job.with_maps(*(heatmap for _, heatmap in job.heatmaps(rows)))
        job.warn_incomplete(heatmap.completeness for heatmap in explanation)
        return explanation

    def stream(
        self,
        pictures: Iterable[PictureLike],
        method: str = "attention",
        *,
        prepared: bool = False,
        batch_size: int = 1,
        **settings: Any,
    ) -> Iterator[Explanation]:
        """A record for each picture, one after the other: however many there are, memory stays the same.

        `settings` are those of a call. Of each `batch_size` pictures that were taken the records come together.
        """
        job = self.job(method, MethodOptions.of(settings), batch_size=batch_size)
        chunks = self._chunks(pictures, batch_size, prepared)

        def records() -> Iterator[Explanation]:
            large = False  # it is said of the first one only
            for chunk in chunks:
                for _, heatmap in job.heatmaps(chunk):
                    large = large or job.warn_incomplete([heatmap.completeness])
                    yield job.with_maps(heatmap)

        return records()

    def job(self, method: str, options: MethodOptions, **reading: Any) -> ExplanationJob:
        """A method with its settings, checked, for pictures that are still to come; `reading` is as in the job."""
        row = method_named(method, "picture")
        options.check(row)
        if row.class_specific and not self.network.has_classes:
            log.warning(
                f"{self.network.name} has no head, so {row.name} explains no class, but a feature of its output: "
                f"{'the largest of each picture; --target N chooses one' if options.target is None else options.target}"
            )
        report_precision(row, self.network.precision)
        if reading.get("curve"):
            check_curves(self.network)
        network = at_precision_of(row, self.network)
        origin = {**self.provenance, "precision": network.precision}
        return ExplanationJob(network, row, options, options.settings(row, network), origin, **reading)
