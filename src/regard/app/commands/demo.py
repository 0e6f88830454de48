"""`regard demo`: the whole job on what is shipped, offline: draw, train, score, explain, report."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skimage.data
from PIL import Image

from regard.app.commands.caption import caption
from regard.app.commands.explain import explain
from regard.app.commands.positions import positions
from regard.app.commands.train import as_json as run_json
from regard.app.commands.train import train
from regard.app.report import attention_maps, page, thumbnails
from regard.data.dataset import Dataset
from regard.data.layouts import read, read_pictures
from regard.files import new_folder, write_file
from regard.networks.load import load
from regard.networks.network import Network
from regard.records import Evaluation, Heatmap, write_manifest
from regard.rendering.pages.report import Report
from regard.scenes import write_scenes

log = logging.getLogger("regard")

MODEL = "pets-tiny"
SCENES = 480
QUICK: Mapping[str, Any] = {"epochs": 3, "search": "never", "smoothing": 0.0}
"""Less than the recipe `finetune` has time for, so that the demo takes about two minutes on two cores."""
PANELS = 4
"""Panels of captions on the page; all are in the folder."""
LAYER = 5
WHY = (
    f"The examples show layer {LAYER} of 12. In the last layers of this network a few background tokens draw most of "
    "the attention, an artefact that many vision transformers have: see the corners in the last layer's maps below."
)
PHOTOGRAPHS = ("chelsea.png", "astronaut.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
"""Photographs in scikit-image's own package, so that they are there offline."""


@dataclass(frozen=True)
class Result:
    """The score on scenes that were set aside, and the folder with everything."""

    out: Path
    evaluation: Evaluation


def demo(out: str | Path = "demo", overwrite: bool = False) -> Result:
    """Draw scenes, train on them, score, explain photographs and scenes, and leave `report.html` in `out`.

    Also there: `scenes/` (pictures with masks and captions), `run/` (the trained network), `photographs/` (panels and
    maps), `positions/`, and `captions/`, where `scenes-captioner` describes some scenes, with a map for every word and
    the true region of what it speaks of. Needs no network connection.
    """
    with new_folder(out, overwrite) as folder:
        log.info(f"1/5 drawing {SCENES} scenes")
        scenes = folder / "scenes"
        write_scenes(SCENES, scenes)
        log.info("2/5 training a classifier of the animals in them")
        run = train(scenes, folder / "run", model=MODEL, slices=("ground", "size"), **QUICK)
        log.info("3/5 explaining photographs and scenes")
        explain(_photographs(), folder / "photographs", model=folder / "run", layer=LAYER)
        positions(folder / "positions", model=folder / "run")
        log.info("4/5 describing scenes, word by word")
        network = load(folder / "run", device="cpu")
        scored = read(scenes).part("val")
        described = _one_each(scored)
        caption([scenes / name for name in described.names], folder / "captions", truth=scenes)
        log.info("5/5 writing the report")
        html = _page(network, scored, run.evaluation, run.messages, _history(folder), _panels(folder, described))
        write_file(folder / "report.html", html)
        write_manifest(folder, "demo", scores=run_json(run)["top1"])
    return Result(Path(out), run.evaluation)


def _photographs() -> list[Path]:
    home = Path(skimage.data.__file__).parent
    return [home / name for name in PHOTOGRAPHS]


def _history(folder: Path) -> list[dict[str, Any]]:
    """What the training wrote as it went."""
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def _page(
    network: Network,
    scored: Dataset,
    evaluation: Evaluation,
    messages: Sequence[str],
    history: Sequence[Mapping[str, Any]],
    panels: Sequence[tuple[str, Image.Image]],
) -> str:
    content = Report(
        "regard demo: animals in drawn scenes",
        evaluation,
        facts={"Network": network.name, "Data": f"{SCENES} drawn scenes, a fifth of them set aside and scored here"},
        messages=[WHY, *messages],
        examples=[*_examples(network, read_pictures(_photographs())), *_examples(network, _one_each(scored))],
        panels=panels,
        history=history,
        provenance=evaluation.provenance,
    )
    return page(content, scored, network)


def _panels(folder: Path, described: Dataset) -> list[tuple[str, Image.Image]]:
    """The first panels of the captions, with what they show."""
    names = [Path(name).name for name in described.names[:PANELS]]
    return [(f"the words said of {name}", Image.open(folder / "captions" / name)) for name in names]


def _one_each(scored: Dataset) -> Dataset:
    """The first scene of each class."""
    first = {picture.label: index for index, picture in reversed(list(enumerate(scored.pictures)))}
    return scored.select(sorted(first.values()))


def _examples(network: Network, pictures: Dataset) -> list[tuple[str, Image.Image, Heatmap | None, str]]:
    """Pictures with the attention of a middle layer over them."""
    maps = attention_maps(network, pictures, pictures.names, LAYER)
    images = thumbnails(pictures, pictures.names)
    return [(name, images[name], maps.get(name), f"attention of CLS, layer {LAYER}") for name in pictures.names]


def as_json(result: Result) -> dict[str, Any]:
    top1 = result.evaluation.scores["top1"]
    return {
        "out": str(result.out),
        "report": str(result.out / "report.html"),
        "top1": top1.as_json(),
        "n": result.evaluation.n,
    }


def as_text(result: Result) -> str:
    """The last line says where the report is."""
    top1 = result.evaluation.scores["top1"]
    return f"right on {top1.value:.1%} of {result.evaluation.n} scenes set aside\nreport: {result.out / 'report.html'}"
