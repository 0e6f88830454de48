"""The page of a run or an evaluation: scores, mistakes, curves, positions, examples and where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from regard.records import Evaluation, Heatmap, Inspection, Mending, MultiLabelEvaluation, Positions
from regard.rendering.pages import training, views
from regard.rendering.pages.anonymiser import Anonymiser
from regard.rendering.pages.budget import Budget
from regard.rendering.pages.columns import run_columns, slice_filter
from regard.rendering.pages.inspections import anonymous_inspections, pack_all
from regard.rendering.pages.labels import anonymous_labels, label_context, label_names
from regard.rendering.pages.mending.story import STYLE, of_run
from regard.rendering.pages.shell import (
    DRAWING_SCRIPTS,
    PICTURE_SCRIPTS,
    PICTURE_STYLES,
    RUN_SCRIPTS,
    RUN_STYLES,
    Bar,
    render,
    shell,
)

GALLERIES = (
    ("mistakes", "Mistakes", "Worst mistakes", "Wrong answers, the surest first.", 24),
    ("uncertain", "Uncertain", "Most uncertain", "Pictures on which the network could hardly decide.", 12),
    (
        "suspects",
        "Labels",
        "Likely label errors",
        "The network is sure of another class than the label's: look at the label first.",
        12,
    ),
)
"""Field of the evaluation, name in the navigation, heading, what it shows, and how many are shown."""
THUMBS = 500
"""Small pictures of the gallery."""


@dataclass(frozen=True)
class Report:
    """What a run's page shows; whatever is empty is left out.

    `evaluation` is a classifier's, `labels` that of one which gives any number of labels.
    `pictures` (thumbnails, upright) and `heatmaps` are by the pictures' names as in `evaluation.predictions.names`, and
    so are `thumbs`, the small ones of the gallery of all pictures, and `inspections`, which the page holds as they fit;
    `examples` are (name, picture, map or None, caption); `panels` are (what is shown, drawn panel), with names written
    into them. `show_pictures=False` keeps every picture and every map over one out of the page; `anonymise` replaces
    all names of pictures and removes paths and panels. `history` are the lines of the training's `metrics.jsonl`, as
    written. `colours` is the maps', `maps` says what those of
    the galleries are.
    """

    title: str
    evaluation: Evaluation | None = None
    labels: MultiLabelEvaluation | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    messages: Sequence[str] = ()
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)
    heatmaps: Mapping[str, Heatmap] = field(default_factory=dict)
    thumbs: Mapping[str, Image.Image] = field(default_factory=dict)
    inspections: Mapping[str, Sequence[Inspection]] = field(default_factory=dict)
    positions: Positions | None = None
    examples: Sequence[tuple[str, Image.Image, Heatmap | None, str]] = ()
    panels: Sequence[tuple[str, Image.Image]] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    show_pictures: bool = True
    anonymise: bool = False
    colours: str = "inferno"
    signed: bool = False
    maps: str = ""


def gallery_names(content: Report) -> list[str]:
    """The pictures of the galleries, the worst mistakes first; none where no picture is to be shown."""
    evaluation = content.evaluation
    if content.labels is not None and content.show_pictures:
        return label_names(content.labels)
    if evaluation is None or not content.show_pictures:
        return []
    indices = [index for field, *_, count in GALLERIES for index in getattr(evaluation, field)[:count]]
    return [evaluation.predictions.names[index] for index in dict.fromkeys(indices)]


def thumb_names(content: Report) -> list[str]:
    """Other pictures, of which the gallery of all of them shows small ones: mistakes first, `THUMBS` at most."""
    present = set(gallery_names(content))
    if content.evaluation is None or not present:
        return []
    names = content.evaluation.predictions.names
    wrong = [names[index] for index in content.evaluation.mistakes]
    return [name for name in dict.fromkeys([*wrong, *names]) if name not in present][:THUMBS]


def report(content: Report) -> str:
    """The page of a run, as HTML text: see `Report`."""
    if not content.show_pictures:  # no picture can be recognised, so no map over one either
        content = replace(content, pictures={}, heatmaps={}, thumbs={}, examples=(), panels=())
    if content.anonymise:
        content = _anonymous(content)
    packed = pack_all(content.inspections, Budget.of(content.inspections), content.show_pictures)
    content = replace(content, messages=(*content.messages, *packed.messages))
    context = _context(content, packed.blocks)
    scripts, styles = (PICTURE_SCRIPTS, PICTURE_STYLES) if packed.content else (DRAWING_SCRIPTS, ())
    return shell(
        content.title,
        render("run/report.html", context),
        bar=Bar(_sections(context), render("shell/controls.html", context) if context["has_maps"] else ""),
        data=_numbers(content.evaluation, context["pictures"], content.labels),
        files=(*styles, *RUN_STYLES, *([STYLE] if context["story"] else []), *scripts, *RUN_SCRIPTS),
        inspections=packed.content,
    )


def _context(content: Report, blocks: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """All that the report's template writes; `blocks` are the numbers of the inspections by name."""
    examples = [
        {
            "name": name,
            "caption": caption,
            **views.frame(image, heatmap, content.colours, views.EXAMPLE, content.signed),
        }
        for name, image, heatmap, caption in content.examples
    ]
    context: dict[str, Any] = {
        "title": content.title,
        "messages": list(content.messages),
        "facts": views.facts(content.facts),
        "recipe": views.recipe(content.recipe),
        "training": training.section(content.history, content.recipe),
        "provenance": views.facts(content.provenance),
        "examples": examples,
        "words": [views.panel(name, image) for name, image in content.panels],
        "positions": views.positions(content.positions) if content.positions else None,
        "story": None,
        "score": None,
        "score_name": "Accuracy",
        "labels": None,
        "scores": [],
        "confusion": None,
        "classes": [],
        "reliability": None,
        "slices": [],
        "pictures": {},
        "galleries": [],
        "ramp": views.ramp(content.colours),
        "maps": content.maps,
    }
    if content.evaluation is not None:
        context |= _scored(content, content.evaluation, blocks)
    if content.labels is not None:
        shown = content.pictures, content.heatmaps, content.colours, content.signed
        found = label_context(content.labels, *shown)
        context |= found | {"messages": [*found["messages"], *content.messages]}
    mistakes = [] if context["labels"] is None else context["labels"]["mistakes"]
    cards = [
        *examples,
        *(card for each in mistakes for card in each["cards"]),
        *(card for each in context["galleries"] for card in each["cards"]),
    ]
    context["has_maps"] = any(card["map"] for card in cards)
    return context


def _scored(content: Report, evaluation: Evaluation, blocks: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The part of the context that an evaluation gives."""
    galleries = []
    for name, short, heading, meaning, limit in GALLERIES:
        chosen = getattr(evaluation, name)
        gallery = views.gallery(
            evaluation, chosen, content.pictures, content.heatmaps, content.colours, limit, content.signed
        )
        galleries.append({"id": name, "short": short, "name": heading, "meaning": meaning, **gallery})
    top1 = evaluation.scores.get("top1")
    columns = run_columns(evaluation, blocks, content.thumbs)
    slices = [
        {**each, "show": slice_filter(columns, each["column"], each["group"])} for each in views.slices(evaluation)
    ]
    return {
        "story": None if evaluation.mending is None else of_run(evaluation.mending),
        "pictures": columns,
        "summary": views.summary(evaluation),
        "score": views.score(top1) if top1 else None,
        "messages": [*views.remarks(evaluation), *content.messages],
        "scores": views.scores(evaluation),
        "confusion": views.confusion(evaluation),
        "confusions": views.confusions(evaluation),
        "classes": views.per_class(evaluation),
        "worst": views.worst_classes(evaluation),
        "shows": views.shows(evaluation),
        "reliability": views.reliability(evaluation),
        "slices": slices,
        "galleries": [each for each in galleries if each["shown"]],
    }


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the navigation lists: (id, name) of the sections that the page has."""
    galleries = {each["id"]: each["short"] for each in context["galleries"]}
    possible = {
        "story": "Mending",
        "scores": "Scores",
        "examples": "Examples",
        "words": "Words",
        "confusion": "Confusions",
        "classes": "Classes",
        "labels": "Labels",
        "label-slices": "Subgroups",
        "label-mistakes": "Mistakes",
        "reliability": "Calibration",
        "slices": "Subgroups",
        **galleries,
        "training": "Training",
        "positions": "Positions",
        "provenance": "Provenance",
    }
    present = {*galleries, *(key for key in possible if context.get(key))}
    if context["labels"]:
        present |= {f"label-{part}" for part in ("slices", "mistakes") if context["labels"][part]}
    present |= {"provenance"} if context["recipe"]["first"] else set()
    return [(key, name) for key, name in possible.items() if key in present]


def _numbers(
    evaluation: Evaluation | None, pictures: views.View, labels: MultiLabelEvaluation | None = None
) -> dict[str, Any]:
    """The scores as JSON for whoever reads the page by a program, and the pictures, for the gallery."""
    if labels is not None:
        scores = {name: score.as_json() for name, score in labels.scores.items()}
        return {**scores, "n": labels.n, "note": labels.note, "labels": list(labels.predictions.classes)}
    if evaluation is None:
        return {}
    scores = {name: score.as_json() for name, score in evaluation.scores.items()}
    classes = list(evaluation.predictions.classes)
    return {**scores, "n": evaluation.n, "note": evaluation.note, "classes": classes, "pictures": pictures}


def _anonymous(content: Report) -> Report:
    """The report with pictures numbered, and without names and paths in any text; class names stay."""
    evaluation = content.evaluation
    scored = () if content.labels is None else content.labels.predictions.names
    names = views.names(
        evaluation,
        scored,
        content.pictures,
        content.heatmaps,
        content.inspections,
        (each.name for each in content.heatmaps.values()),
        (each[0] for each in content.examples),
    )
    of = evaluation or content.labels
    hide = Anonymiser(names, of.predictions.classes if of else ())
    return replace(
        content,
        title=hide.text(content.title),
        evaluation=_anonymous_evaluation(evaluation, hide) if evaluation else None,
        labels=anonymous_labels(content.labels, hide) if content.labels else None,
        facts=hide.facts(content.facts),
        messages=tuple(hide.text(message) for message in content.messages),
        pictures={hide.name(name): picture for name, picture in content.pictures.items()},
        thumbs={hide.name(name): picture for name, picture in content.thumbs.items()},
        inspections=anonymous_inspections(content.inspections, hide),
        heatmaps={hide.name(name): replace(each, name=hide.name(name)) for name, each in content.heatmaps.items()},
        examples=tuple(
            (hide.name(name), picture, replace(each, name=hide.name(name)) if each else None, hide.text(caption))
            for name, picture, each, caption in content.examples
        ),
        panels=(),  # names are written into them
        recipe=hide.facts(content.recipe),
        history=tuple(  # its own words stay (a picture may be called "epoch"), as they say what is drawn
            {key: value if key == "phase" else hide.anything(value) for key, value in row.items()}
            for row in content.history
        ),
        provenance=hide.facts(content.provenance),
    )


def _anonymous_evaluation(evaluation: Evaluation, hide: Anonymiser) -> Evaluation:
    names = tuple(map(hide.name, evaluation.predictions.names))
    predictions = replace(evaluation.predictions, names=names, groups=None)
    slices = tuple(
        replace(each, column=hide.text(each.column), value=hide.text(each.value)) for each in evaluation.slices
    )
    mending = evaluation.mending and Mending.from_json(hide.anything(evaluation.mending.as_json()))
    hidden = replace(evaluation, predictions=predictions, slices=slices, mending=mending)
    return replace(hidden, note=hide.text(evaluation.note), provenance={})
