"""What a worker does with pictures: a predictor that is loaded once, and batches of decoded pictures → columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.data.dataset import Picture
from regard.data.images.decode import open_picture
from regard.data.images.preparation import read_pixels
from regard.data.openers import BytesOpener, ImageOpener, Opener
from regard.data.regions import regions_of
from regard.errors import DataError
from regard.explanation.artifacts import OUTLIER
from regard.explanation.pictures.explain import batch_heatmaps
from regard.files import readable
from regard.jobs.bulk.columns import SIDE, TOP
from regard.jobs.bulk.reading import Decoded
from regard.jobs.bulk.work import Work, digest
from regard.measurement.localisation.objects import input_masks
from regard.measurement.reliance.answers import answers
from regard.measurement.reliance.compositing import as_shown
from regard.measurement.reliance.swaps import variants
from regard.networks.arguments import views_facts
from regard.networks.attention.replay import token_blocks
from regard.networks.attention.trace import trace
from regard.networks.guard import lock_of
from regard.networks.network import Network
from regard.networks.predict import pixel_probabilities, viewed
from regard.predictors.captioner import Captioner
from regard.predictors.captions.options import CaptionInput, CaptionOptions
from regard.predictors.classifier import Classifier
from regard.predictors.explainer import Explainer
from regard.predictors.method_options import MethodOptions
from regard.records import Float, Heatmap

Columns = dict[str, Any]
ALONE = ("object", "background")
"""What of a picture is shown alone."""


class Task(Protocol):
    """A command over decoded pictures. `about` goes into each file: settings, provenance, classes."""

    about: Mapping[str, Any]
    digest: str
    network: Any

    def decode(self, opener: Opener) -> Any:
        """A picture as `columns` takes it; in any thread. Raises `DataError`."""

    def columns(self, pictures: Sequence[Decoded]) -> tuple[Columns, dict[int, str]]:
        """The fields of some good pictures, and by index why some of these are none after all."""


def load_task(work: Work) -> Task:
    """The command's predictor, loaded. Raises `UsageError` and `NetworkError` as the command does."""
    tasks: dict[str, Callable[[Work], Task]] = {"predict": _Prediction, "explain": _Explanation, "caption": _Caption}
    return tasks[work.command](work)


def _about(origin: Mapping[str, Any], classes: Sequence[str] = ()) -> str:
    """The hash of a network, wherever it lies: what it is called decides nothing."""
    return digest({**origin, "network": "", "classes": list(classes)})


class _Pixels:
    """What predictions and maps share: pixels as the network takes them."""

    network: Network

    def __init__(self, work: Work) -> None:
        self.work = work

    def decode(self, opener: Opener) -> tuple[Any, ...]:
        return read_pixels(opener, self.network.preparation, self.work.max_pixels)

    def inputs(self, pictures: Sequence[Decoded]) -> Tensor:
        """(batch, 3, height, width), normalised, on the network's device."""
        pixels = torch.from_numpy(np.stack([each.value[0] for each in pictures]))
        return self.network.preparation.normalise(pixels.to(self.network.device, non_blocking=True))


class _Prediction(_Pixels):
    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.classifier = classifier = Classifier(work.model, **work.network)
        self.network = classifier.network
        self.classes = classifier.classes
        self.names = [*map(readable, self.classes)]
        self.tta = work.settings.get("tta")
        self.preparation = viewed(self.network.preparation, self.tta)
        self.regions = None if work.masks is None else regions_of(work.masks, max_pixels=work.max_pixels)
        self.about: Mapping[str, Any] = {
            "settings": views_facts(self.tta),
            "provenance": dict(classifier.provenance),
            "classes": self.names,
        }
        self.digest = _about(self.network.origin(), self.classes)

    def decode(self, opener: Opener) -> Any:
        pixels, size = read_pixels(opener, self.preparation, self.work.max_pixels)
        return pixels, size, opener  # which says how a mask is turned

    def columns(self, pictures: Sequence[Decoded]) -> tuple[Columns, dict[int, str]]:
        columns: Columns = {}
        if "artifacts" in self.work.columns:
            values, columns["artifact_share"] = self._with_artifacts(self.inputs(pictures))
        else:
            pixels = torch.from_numpy(np.stack([each.value[0] for each in pictures]))
            values = pixel_probabilities(self.network, pixels, self.tta).numpy()
        best = values.argmax(axis=1)
        columns["label"] = [*map(readable, self.classifier.labels_of(values))]
        columns["confidence"] = np.take_along_axis(values, best[:, None], axis=1)[:, 0]
        if "top5" in self.work.columns:
            order = np.argsort(-values, axis=1, kind="stable")[:, :TOP]
            columns["top5"] = [[self.names[index] for index in row] for row in order]
            columns["top5_probability"] = [*np.take_along_axis(values, order, axis=1)]
        columns["probs"] = [*values]
        return columns | (self._alone(pictures, best) if self.regions is not None else {}), {}

    def _alone(self, pictures: Sequence[Decoded], targets: NDArray[np.int64]) -> Columns:
        """The probability of each answer on its object alone and its background alone; None where no mask is known."""
        assert self.regions is not None
        rows = [Picture(each.key, each.value[2]) for each in pictures]
        sizes = [each.value[1] for each in pictures]
        masks = torch.from_numpy(input_masks(self.regions, rows, sizes, self.network.preparation).masks)
        pixels = as_shown(torch.from_numpy(np.stack([each.value[0] for each in pictures])))
        changed = [each for each in variants(self.network.preparation, pixels, masks, {}) if each[0] in ALONE]
        probability = answers(self.network, changed, targets, len(pictures)).probability  # (2, pictures)
        lists = [[None if np.isnan(value) else value for value in row] for row in probability.tolist()]
        return dict(zip((f"{name}_alone" for name in ALONE), lists, strict=True))

    def _with_artifacts(self, inputs: Tensor) -> tuple[Float, Float]:
        """Class probabilities and, from the same pass, the share of patches whose norm is an outlier's."""
        with lock_of(self.network.module):
            last = len(token_blocks(self.network)) - 1
            logits, traced = trace(self.network, inputs, layers=[last], queries="pool", also=("norms",))
            probabilities = self.network.probabilities(logits.float()).cpu().numpy()
        norms = traced.norms[last][:, -traced.rows * traced.columns :].float()  # (batch, patches)
        outliers = norms > OUTLIER * norms.median(dim=1, keepdim=True).values
        return probabilities, outliers.float().mean(dim=1).cpu().numpy()


class _Explanation(_Pixels):
    def __init__(self, work: Work) -> None:
        super().__init__(work)
        explainer = Explainer(work.model, **work.network)
        settings = dict(work.settings)
        method = settings.pop("method")
        self.job = explainer.job(method, MethodOptions.of(settings))
        self.network = self.job.network
        about = self.job.about
        classes = [*map(readable, about.classes)]
        self.about: Mapping[str, Any] = {
            "method": about.method,
            "signed": about.signed,
            "settings": dict(about.settings),
            "provenance": dict(about.provenance),
            "classes": classes,
        }
        self.names: dict[int | None, str] = dict(enumerate(classes))
        self.digest = _about(explainer.network.origin(), about.classes)

    def columns(self, pictures: Sequence[Decoded]) -> tuple[Columns, dict[int, str]]:
        rows = [Picture(each.key, BytesOpener(b"", each.key)) for each in pictures]
        sizes = [each.value[1] for each in pictures]
        maps = batch_heatmaps(self.network, self.inputs(pictures), rows, sizes, self.job.method.name, self.job.settings)
        fields = [self._row(heatmap) for heatmap in map(self.job.with_prediction, maps)]
        return {name: [row[name] for row in fields] for name in fields[0]}, {}

    def _row(self, heatmap: Heatmap) -> dict[str, Any]:
        target, against = heatmap.target if isinstance(heatmap.target, tuple) else (heatmap.target, None)
        indices = {"target": target, "against": against, "predicted": heatmap.predicted}
        grid = heatmap.grid
        low, high, cells = map16(heatmap.values) if "map16" in self.work.columns else (None, None, None)
        return {
            **indices,
            **{f"{which}_name": self.names.get(index) for which, index in indices.items()},
            "map": heatmap.values.ravel(),
            "rows": heatmap.values.shape[0],
            "columns": heatmap.values.shape[1],
            "picture_height": grid.picture[0],
            "picture_width": grid.picture[1],
            "prefix": grid.prefix,
            "patch_rows": grid.rows,
            "patch_columns": grid.columns,
            **dict(zip(("box_left", "box_top", "box_right", "box_bottom"), map(float, grid.box), strict=True)),
            "map16": cells,
            "map16_low": low,
            "map16_high": high,
        }


class _Caption:
    def __init__(self, work: Work) -> None:
        self.work = work
        captioner = Captioner(work.model, **work.network)
        self.job = captioner.job(CaptionOptions(**work.settings), batch_size=work.batch_size)
        self.network = self.job.network
        self.about: Mapping[str, Any] = {
            "settings": self.job.settings,
            "provenance": dict(self.job.provenance),
            "classes": [],
        }
        self.digest = _about(captioner.network.origin())

    def decode(self, opener: Opener) -> Any:
        return open_picture(opener, self.work.max_pixels)

    def columns(self, pictures: Sequence[Decoded]) -> tuple[Columns, dict[int, str]]:
        errors: dict[int, str] = {}
        places = {each.key: place for place, each in enumerate(pictures)}

        def note(picture: Picture, error: DataError) -> None:
            errors[places[picture.name]] = " ".join(str(error).split())

        inputs = [CaptionInput(Picture(each.key, ImageOpener(each.value, each.key))) for each in pictures]
        job = replace(self.job, on_bad=note)
        rows: dict[int, dict[str, Any]] = {index: self._row(caption) for index, caption, _ in job.captions(inputs)}
        names = next(iter(rows.values()), {})
        return {name: [rows.get(place, {}).get(name) for place in range(len(pictures))] for name in names}, errors

    def _row(self, caption: Any) -> dict[str, Any]:
        maps = caption.maps  # (words, rows, columns)
        return {
            "caption": readable(caption.text),
            "log_probability": caption.log_probability,
            "finished": caption.finished,
            "words": [readable(word.text) for word in caption.words],
            "word_probability": [word.probability for word in caption.words],
            "word_maps": maps.ravel(),
            "rows": maps.shape[1],
            "columns": maps.shape[2],
        }


def map16(values: Float) -> tuple[float, float, Any]:
    """A map (rows, columns) → its least and largest value over 16 × 16 cells, and these (256,) in 256 steps between.

    Each cell has the mean of the map over its area, a value being constant over its patch: maps of any size become
    comparable, and a mean over the picture stays what it was.
    """
    cells = _weights(values.shape[0]) @ values.astype(np.float64) @ _weights(values.shape[1]).T  # (16, 16)
    low = float(np.float32(cells.min()))
    high = float(np.float32(cells.max()))
    span = high - low
    steps = np.zeros(cells.shape) if not span > 0 else np.clip((cells - low) / span, 0, 1) * 255
    return low, high, np.rint(steps).astype(np.uint8).ravel()


def _weights(count: int) -> Any:
    """(16, count): the share of each cell that lies in each of `count` equal parts; rows sum to 1."""
    edges = np.arange(SIDE + 1) / SIDE * count  # of cells, in parts
    starts = np.maximum(edges[:-1, None], np.arange(count)[None])
    ends = np.minimum(edges[1:, None], np.arange(1, count + 1)[None])
    return np.maximum(ends - starts, 0) * SIDE / count
