"""What a worker does with a picture: classes, maps, words. Its networks are loaded once, and no others ever are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch

from regard.audit.verdicts import verdict_on
from regard.data.dataset import Picture
from regard.data.images.decode import upright_size
from regard.data.openers import BytesOpener
from regard.errors import DataError, NetworkError, UsageError
from regard.explanation import METHODS, Method, method_named
from regard.explanation.words.methods import fitting
from regard.jobs.pool.errors import without_advice
from regard.jobs.pool.wire import Frame
from regard.networks.network import Network
from regard.networks.run import task_of
from regard.networks.sources.shipped import CAPTIONERS, folder_of
from regard.networks.tasks import CAPTIONING
from regard.predictors.captioner import Captioner
from regard.predictors.captions.options import CaptionInput, CaptionOptions
from regard.predictors.classifier import Classifier
from regard.predictors.explainer import Explainer
from regard.predictors.inputs import pictures_of
from regard.predictors.inspector import Inspector, caption_inspection
from regard.predictors.method_options import MethodOptions
from regard.records import Explanation, Heatmap
from regard.records.captions import Caption, Word, support_text
from regard.scenes import render, sample

DIGITS = 4
"""Significant digits of values in JSON."""


class Report(Protocol):
    """Says which stage a job is at, and how much of it is done; raises where nobody waits for the job any more."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Model:
    """A network by the name that requests have for it; `seconds` is what a forward takes."""

    name: str
    source: str
    predictor: Explainer | Captioner
    classifier: Classifier | None = None
    inspector: Inspector | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        network = self.predictor.network
        about: dict[str, Any] = {"name": self.name, "network": network.name, "device": str(network.device)}
        if isinstance(self.predictor, Captioner):
            captioner = self.predictor.network
            captions = {"task": "captioning", "layers": captioner.layers, "methods": list(fitting(captioner))}
            return {**about, **captions, "classes": []}
        anatomy = self.predictor.network.anatomy
        preparation = self.predictor.network.preparation
        rows, columns = (0, 0) if anatomy.patch is None else anatomy.grid(preparation.height, preparation.width)
        classes = [] if self.classifier is None else list(self.classifier.classes)
        size = {"height": preparation.height, "width": preparation.width, "rows": rows, "columns": columns}
        methods = [row.name for row in METHODS if row.kind == "picture" and _fits(row, self.predictor)]
        return {**about, "task": "classification", "classes": classes, **size, "layers": len(anatomy.attentions),
                "methods": methods, "milliseconds": round(1000 * self.seconds, 1)}  # fmt: skip


class Desk:
    """The networks of a `plan` (models as name and source, device, threads, max_pixels, deadline), loaded once."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        if plan["threads"]:
            torch.set_num_threads(plan["threads"])
        self.max_pixels = int(plan["max_pixels"])
        self.deadline = float(plan["deadline"])
        self.all = {name: _load(name, source, plan["device"]) for name, source in plan["models"]}

    @property
    def models(self) -> list[dict[str, Any]]:
        return [model.as_json() for model in self.all.values()]

    def work(self, header: Mapping[str, Any], content: bytes, report: Report) -> Frame:
        """Do one job: its `kind` names a method here. Raises `RegardError` for what cannot be done."""
        settings = dict(header["settings"])
        model = self.all[header["model"]]
        report("picture", 0, 1)
        kinds = {"classify": self.classify, "explain": self.explain, "caption": self.caption, "inspect": self.inspect}
        try:
            picture = self._picture(content, header["name"])
            answer, body = kinds[header["kind"]](model, picture, settings, report)
        except DataError as error:
            raise DataError(without_advice(error)) from error
        return {"name": header["name"], "model": model.name, **answer}, body

    def _picture(self, content: bytes, name: str) -> Picture:
        """The picture, not yet decoded. Raises `DataError` for none, and for one with too many pixels by its header."""
        opener = BytesOpener(content, name)
        height, width = upright_size(opener)
        if height * width > self.max_pixels:
            raise DataError(
                f"{name} has {width:,} × {height:,} = {width * height:,} pixels; this server takes up to "
                f"{self.max_pixels:,}; make it smaller, or have the server started with a larger --max-pixels"
            )
        return Picture(name, opener)

    def classify(self, model: Model, picture: Picture, settings: dict[str, Any], report: Report) -> Frame:
        if model.classifier is None:
            raise UsageError(f"{model.name} has no classes; choose a model of classes, or explain a feature of it")
        report("network", 0, 1)
        record = model.classifier([picture])
        top = record.top(0, int(settings["top"]))
        probabilities = [[name, _plain(value)] for name, value in top.items()]
        return {"predicted": record.labels[0], "probabilities": probabilities, "provenance": record.provenance}, b""

    def explain(self, model: Model, picture: Picture, settings: dict[str, Any], report: Report) -> Frame:
        explainer = model.predictor
        if not isinstance(explainer, Explainer):
            raise UsageError(f"{model.name} writes captions, which `caption` asks for; choose a model of classes")
        methods = settings.pop("method")
        curve = settings.pop("curve")
        options = MethodOptions.of(settings)
        jobs = [explainer.job(name, options, curve=curve) for name in methods]
        for name in methods:
            self._check_cost(model, explainer.network, method_named(name, "picture"), options, curve)
        maps = []
        for index, job in enumerate(jobs):
            report(job.method.name, index, len(jobs))
            [(_, heatmap)] = job.heatmaps([picture])
            job.warn_incomplete([heatmap.completeness])
            verdict = verdict_on(job.about, None, model.source, [picture])
            about = {"method": job.method.name, "settings": dict(job.about.settings), "signed": job.method.signed}
            maps.append({**about, **_map(heatmap, job.about.classes), "verdict": verdict or None})
        return {"grid": asdict(heatmap.grid), "maps": maps, "provenance": dict(jobs[0].provenance)}, b""

    def caption(self, model: Model, picture: Picture, settings: dict[str, Any], report: Report) -> Frame:
        captioner = model.predictor
        if not isinstance(captioner, Captioner):
            raise UsageError(f"{model.name} has classes and writes no captions; choose a model that does")
        report("caption", 0, 1)
        text = settings.pop("caption")
        chosen = {name: value for name, value in settings.items() if value is not None}
        return _caption(_captioned(captioner, picture, text, **chosen)), b""

    def inspect(self, model: Model, picture: Picture, settings: dict[str, Any], report: Report) -> Frame:
        """All that the viewer shows of a picture by one network, packed as docs/inspections.md has it."""
        if model.inspector is None:
            assert isinstance(model.predictor, Captioner)
            report("caption", 0, 1)
            caption = _captioned(model.predictor, picture, None, check=settings["check"])
            return {"predicted": None, "caption": caption.text}, caption_inspection(caption, picture).pack()
        if settings["check"]:
            raise UsageError(f"{model.name} has classes and writes no captions to check; leave `check` out")
        methods = settings["method"]
        for name in methods:
            self._check_cost(model, model.inspector.network, method_named(name, "picture"), MethodOptions(), False)

        def verdict(about: Explanation, picture: Picture) -> dict[str, str] | None:
            """What an audit of the run found of a method."""
            status, _, text = verdict_on(about, None, model.source, [picture]).partition(": ")
            return {"status": status, "text": text} if status else None

        inspection = model.inspector(
            picture,
            methods,
            curve=settings["curve"],
            target=settings["target"],
            verdicts=verdict,
            on_stage=report,
        )
        predicted = None if inspection.answer is None else inspection.answer.predicted
        return {"predicted": predicted, "caption": None}, inspection.pack()

    def _check_cost(self, model: Model, network: Network, method: Method, options: MethodOptions, curve: bool) -> None:
        """Raise `UsageError` for what would take longer than a job may."""
        rows, columns = network.anatomy.grid(network.preparation.height, network.preparation.width)
        cost = method.cost * (rows * columns if "patch" in method.cost_per else 1)
        samples = (
            options.samples or 8
            if "sample" in method.cost_per
            else max(16, options.samples or 0, options.steps or 0) / 16
        )
        cost *= samples
        seconds = model.seconds * (cost + 20 * curve)
        if seconds > self.deadline:
            raise UsageError(
                f"{method.name} would take about {seconds:,.0f} seconds on {model.name}, and a job has "
                f"{self.deadline:g}; choose a cheaper method or fewer samples, or have the server started with a "
                "longer --deadline"
            )


def _load(name: str, source: str, device: str | None) -> Model:
    """A classifier, or, where `source` is none, a captioner; both have worked once when they are handed over."""
    blank = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)  # of one colour some maps would be empty
    if source in CAPTIONERS or task_of(folder_of(source)) == CAPTIONING:
        return _warm_captioner(name, source, device, blank)
    try:
        explainer = Explainer(source, device=device)
    except (NetworkError, UsageError) as error:
        try:
            return _warm_captioner(name, source, device, blank)
        except (NetworkError, UsageError):
            raise error from None
    network: Any = explainer.network
    classifier = Classifier(network) if network.has_classes else None
    seconds = []
    for _ in range(3):
        start = perf_counter()
        network.logits(network.blank())
        seconds.append(perf_counter() - start)
    _ = explainer.provenance  # hashes all weights, once
    inspector = Inspector(network)
    inspector(blank, ["attention"], curve=False, longest=64)  # once, so that the first picture waits for nothing
    return Model(name, source, explainer, classifier, inspector, min(seconds))


def _warm_captioner(name: str, source: str, device: str | None, blank: Any) -> Model:
    captioner = Captioner(source, device=device)
    captioner(blank)
    return Model(name, source, captioner)


def _fits(row: Method, explainer: Explainer) -> bool:
    """Whether a network has the parts that a method of pictures requires."""
    anatomy = explainer.network.anatomy
    parts = {"attention": anatomy.attentions, "blocks": anatomy.blocks}
    return all(parts.get(need, True) for need in row.requires) and (
        explainer.network.has_classes or not row.class_specific
    )


def _plain(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _rows(values: Any) -> list[list[float | None]]:
    return [[_plain(value) for value in row] for row in np.asarray(values)]


def _class(target: Any, classes: Any) -> Any:
    """A class by name, where it has one."""
    if isinstance(target, (tuple, list)):
        return [_class(each, classes) for each in target]
    return classes[target] if classes and isinstance(target, int) else target


def _map(heatmap: Heatmap, classes: Any) -> dict[str, Any]:
    about = {"target": _class(heatmap.target, classes), "predicted": _class(heatmap.predicted, classes)}
    curve = None if heatmap.curve is None else heatmap.curve.as_json()
    error = None if heatmap.error is None else _rows(heatmap.error)
    sums = None if heatmap.completeness is None else heatmap.completeness.as_json()
    return {**about, "seen": heatmap.seen, "curve": curve, "completeness": sums, "error": error,
            "values": _rows(heatmap.values)}  # fmt: skip


def _captioned(
    captioner: Captioner, picture: Picture, text: str | None, *, check: str | None = None, **options: Any
) -> Caption:
    """The caption of a picture, made or given. What is checked is compared with a drawn scene, always the same one, as
    there is no next picture."""
    if check is None:
        caption = captioner(picture, text, **options)
        assert isinstance(caption, Caption)
        return caption
    source = None if text is None else {"captions": "given"}
    job = captioner.job(CaptionOptions(check=check, **options), source, batch_size=1)
    (other,) = pictures_of([render(sample(0)).picture])
    inputs = [CaptionInput(picture, text), CaptionInput(other)]  # of the second no caption is made
    return next(caption for _, caption, _ in job.captions(inputs))


def _caption(caption: Caption) -> dict[str, Any]:
    words = []
    for word in caption.words:
        steps = caption.steps[word.steps[0] : word.steps[1]] if word.steps is not None else ()
        others = [[piece, _plain(float(np.exp(value)))] for step in steps[:1] for piece, value in step.alternatives]
        about = {"text": word.text, "part": word.part_of_speech, "probability": _plain(word.probability)}
        values = None if word.heatmap is None else _rows(word.heatmap.values)
        words.append({**about, "alternatives": others, "map": values, **_checked(word)})
    measured = support_text(caption.settings)
    about = {
        **({"measured": measured} if measured else {}),
        "text": caption.text,
        "finished": caption.finished,
        "log_probability": caption.log_probability,
    }
    origin = {"settings": dict(caption.settings), "provenance": dict(caption.provenance)}
    return {**about, "words": words, "grid": None if caption.grid is None else asdict(caption.grid), **origin}


def _checked(word: Word) -> dict[str, Any]:
    """How far the picture supports a word, where that was asked for."""
    if word.checks is None:
        return {}
    support = None if word.support is None else {**asdict(word.support), "doubtful": word.support.is_doubtful}
    return {"support": support, "checks": {name: _plain(value) for name, value in word.checks.items()}}
