"""`regard demo`: the whole job on what is shipped, offline: draw, train, score, explain, report."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.app.listing import Printed
from regard.app.options import Out, Overwrite

if TYPE_CHECKING:
    from PIL import Image

    from regard.data.dataset import Dataset
    from regard.networks.network import Network
    from regard.records import Evaluation, Heatmap, Mending

log = logging.getLogger("regard")

MODEL = "pets-tiny"
SCENES = 480
QUICK: Mapping[str, Any] = {"epochs": 3, "search": "never", "smoothing": 0.0}
"""Less than the recipe `finetune` has time for, so that the demo takes about three minutes on two cores."""
PANELS = 4
"""Panels of captions on the page; all are in the folder."""
LAYER = 5
WHY = f"The maps of the examples are of layer {LAYER} (of 0 to 11), before artifact tokens appear."
LOOK = "Photographs and captions to look into, word by word and layer by layer: photographs.html and captions.html."
AUDITED = 8
METHODS = ("attention", "libra_fullgrad_plus")
BIASED, SIDE = 400, 112
MENDING: Mapping[str, Any] = {"epochs": 3, "batch_size": 16, "learning_rate": 5e-4}
MENDED = "A network that learnt the ground for the animal, found out and mended: see mended_run/report.html. It was"
AUDIT = "Which of its maps can be believed, and what it relies on: see audit/report.html, a small audit on new scenes."


@dataclass(frozen=True, repr=False)
class DemoResult(Printed):
    """The score on scenes that were set aside, and the folder with everything."""

    out: Path
    evaluation: "Evaluation"


def demo(out: Out = Path("demo"), overwrite: Overwrite = False) -> DemoResult:
    """The whole job on what is shipped, offline, in about three minutes: draws, trains, scores, explains, reports.

    Leaves `report.html` in `out`, and beside it `scenes/` (pictures with masks and captions), `run/` (the trained
    network), `audit/` (a small audit of it), `mended_run/` (one that relied on the ground, mended), `photographs/`
    (panels and maps), `positions/`, and `captions/`, where `scenes-captioner` describes some scenes, with a map for
    every word and the true region of what it speaks of. Two pages, `photographs.html` and `captions.html`, are to look
    into. Needs no network connection.
    """
    import regard  # the demo does what a user would, by the functions that users call
    from regard.app.report import page
    from regard.audit.notes import repair_command
    from regard.data.images.photographs import photographs
    from regard.data.layouts import read, read_pictures
    from regard.files import json_text, new_folder, write_file
    from regard.records import write_manifest
    from regard.rendering.pages.report import Report

    with new_folder(out, overwrite) as folder:
        log.info(f"1/7 drawing {SCENES} scenes")
        scenes = folder / "scenes"
        regard.scenes(SCENES, scenes)
        log.info("2/7 training a classifier of the animals in them")
        run = regard.train(scenes, folder / "run", model=MODEL, slices=("ground", "size"), **QUICK)
        log.info("3/7 explaining photographs and scenes")
        pages: dict[str, Any] = {"page": folder / "photographs.html", "methods": METHODS}
        regard.explain(photographs(), folder / "photographs", model=folder / "run", layer=LAYER, **pages)
        regard.positions(folder / "positions", model=folder / "run")
        log.info("4/7 describing scenes, word by word")
        network = regard.load(folder / "run", device="cpu")
        scored = read(scenes).part("val")
        first = {picture.label: index for index, picture in reversed(list(enumerate(scored.pictures)))}
        described = scored.select(sorted(first.values()))  # the first scene of each class
        files = [scenes / name for name in described.names]
        about: dict[str, Any] = {"truth": scenes, "depends": True, "check": "quick", "page": folder / "captions.html"}
        regard.caption(files, folder / "captions", **about)
        log.info("5/7 auditing the network on new scenes")
        regard.scenes(AUDITED, folder / "new_scenes", seed=1)
        regard.audit(
            folder / "new_scenes", folder / "audit", folder / "run", methods=METHODS, split="all", slices=("ground",)
        )
        log.info("6/7 mending a network that learnt the ground for the animal")
        mending = _mended(folder)
        log.info("7/7 writing the report")
        evaluation = run.evaluation
        metrics = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8")
        content = Report(
            "regard demo: animals in drawn scenes",
            evaluation,
            facts={"Network": network.name, "Data": f"{SCENES} drawn scenes, a fifth set aside and scored here"},
            messages=[WHY, LOOK, AUDIT, f"{MENDED} {mending.sentence}.", *run.messages],
            examples=[*_examples(network, read_pictures(photographs())), *_examples(network, described)],
            panels=_panels(folder / "captions", described),
            history=[json.loads(line) for line in metrics.splitlines()],
            provenance=evaluation.provenance,
        )
        repair = repair_command(Path(out) / "scenes", Path(out) / "run")
        write_file(folder / "report.html", page(content, scored, network, repair))
        recipe = folder / "mended_run" / "recipe.json"  # names the folder that this one is until it is whole
        text = recipe.read_text(encoding="utf-8")
        write_file(recipe, text.replace(json_text(str(folder))[1:-1], json_text(str(out))[1:-1]))
        write_manifest(folder, "demo", scores=evaluation.scores["top1"].as_json())
    return DemoResult(Path(out), evaluation)


def _mended(folder: Path) -> "Mending":
    """What mending did to a network that was trained where the ground tells the animal, judged where it does not."""
    import regard

    scenes = regard.scenes(BIASED, folder / "biased_scenes", size=SIDE, val=0.4, bias="ground=0.95,val=0.5").out
    more: dict[str, Any] = {"slices": ("bias",), "no_pictures": True}
    run = regard.train(scenes, folder / "biased_run", recipe="probe", model=MODEL, size=SIDE, **more)
    more |= {"masks": scenes / "masks", **MENDING}
    return regard.train(scenes, folder / "mended_run", recipe="recombine", model=run.out, **more).evaluation.mending


def _panels(folder: Path, described: "Dataset") -> "list[tuple[str, Image.Image]]":
    """The first panels of the captions, with what they show."""
    from PIL import Image

    names = [Path(name).name for name in described.names[:PANELS]]
    return [(f"the words said of {name}", Image.open(folder / name)) for name in names]


def _examples(network: "Network", pictures: "Dataset") -> "list[tuple[str, Image.Image, Heatmap | None, str]]":
    """Pictures with the attention of a middle layer over them."""
    from regard.data.images.thumbnails import thumbnails
    from regard.explanation.pictures.explain import attention_maps

    maps = attention_maps(network, pictures, pictures.names, LAYER)
    images = thumbnails(pictures, pictures.names)
    return [
        (name, images[name], maps.get(name), f"attention of CLS, layer {LAYER}, the mean over heads")
        for name in pictures.names
    ]


def as_json(result: DemoResult) -> dict[str, Any]:
    paths = {"out": str(result.out), "report": str(result.out / "report.html")}
    return {**paths, "top1": result.evaluation.scores["top1"].as_json(), "n": result.evaluation.n}


def as_text(result: DemoResult) -> str:
    """The last line says where the report is."""
    top1 = result.evaluation.scores["top1"]
    audit = f"audit: {result.out / 'audit' / 'report.html'}"
    right = f"right on {top1.value:.1%} of {result.evaluation.n} scenes set aside"
    return f"{right}\n{audit}\nreport: {result.out / 'report.html'}"
