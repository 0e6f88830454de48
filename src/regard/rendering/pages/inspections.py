"""The page of inspections: pictures that can be looked at by every layer, head, patch and method, in one file."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from regard.records import Float, Heatmap, Inspection
from regard.rendering.figures.doubts import reasons_of
from regard.rendering.lettering import share_text
from regard.rendering.pages import views
from regard.rendering.pages.anonymiser import Anonymiser
from regard.rendering.pages.budget import Budget, Packed
from regard.rendering.pages.shell import PICTURE_SCRIPTS, PICTURE_STYLES, RUN_SCRIPTS, RUN_STYLES, render, shell

STYLES = ("stills/stills.css", *PICTURE_STYLES, *RUN_STYLES)
SCRIPTS = (*PICTURE_SCRIPTS, *RUN_SCRIPTS)
"""The viewer's style and script, fragment by fragment in their order."""
TABLES = 24
"""Of so many pictures at most the numbers stand in the page as tables for where no script runs; of more, as a line."""
STILL = 440
STILLS = 200
"""The longer sides in pixels of pictures where no script runs: of one of `TABLES`, and of one of more."""


@dataclass(frozen=True)
class InspectedPage:
    """What a page of inspections shows: `pictures` by name, each with an inspection by each network.

    `classes` are all that are known, `facts` and `messages` stand at the top, `provenance` at the foot.
    `show_pictures=False` keeps every picture out of the page; `anonymise` replaces their names and removes paths.
    """

    title: str
    pictures: Mapping[str, Sequence[Inspection]]
    classes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    messages: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    show_pictures: bool = True
    anonymise: bool = False
    colours: str = "inferno"


def inspection_page(content: InspectedPage, budget: Budget | None = None) -> str:
    """The page, as HTML text, within a budget of bytes that goes by the number of pictures."""
    if content.anonymise:
        content = _anonymous(content)
    packed = pack_all(content.pictures, budget or Budget.of(content.pictures), content.show_pictures)
    stills = [still(name, inspections, content) for name, inspections in content.pictures.items()]
    context = {
        "title": content.title,
        "facts": views.facts(content.facts),
        "messages": [*content.messages, *packed.messages],
        "provenance": views.facts(content.provenance),
        "stills": stills,
        "tables": len(stills) <= TABLES,
        "ramp": views.ramp(content.colours),
    }
    classes = list(content.classes)
    return shell(
        content.title,
        render("stills/page.html", context),
        data={
            "title": content.title,
            "classes": classes,
            "pictures": index_of(content.pictures, packed.blocks, classes),
            "provenance": dict(content.provenance),
        },
        files=(*STYLES, *SCRIPTS),
        inspections=packed.content,
    )


def pack_all(pictures: Mapping[str, Sequence[Inspection]], budget: Budget, show_pictures: bool = True) -> Packed:
    """All inspections as blocks of a page, in the order of the pictures."""
    packed = Packed(budget)
    for name, inspections in pictures.items():
        for inspection in inspections:
            if not show_pictures:
                inspection = inspection.without("picture", "pictures were kept out of this page (--no-pictures)")
            packed.add(name, inspection)
    return packed


def index_of(
    pictures: Mapping[str, Sequence[Inspection]], blocks: Mapping[str, Sequence[int]], classes: list[str]
) -> list[dict[str, Any]]:
    """A line for each picture, for the page's JSON; `classes` grows by those that are not in it."""
    places = {name: place for place, name in enumerate(classes)}

    def number(name: str | None) -> int | None:
        if name is None:
            return None
        if name not in places:
            places[name] = len(classes)
            classes.append(name)
        return places[name]

    short = dict(zip(pictures, views.shortened(list(pictures), views.FILE), strict=True)) if pictures else {}
    rows = []
    for name, inspections in pictures.items():
        answer = next((each.answer for each in inspections if each.answer is not None), None)
        words = (word for each in inspections if each.caption is not None for word in each.caption.words)
        supports = [word.support for word in words if word.support is not None]
        rows.append(
            {
                "name": name,
                "short": short[name],
                "predicted": number(None if answer is None else answer.predicted),
                "true": number(None if answer is None else answer.true),
                "confidence": None if answer is None else round(answer.probabilities[0][1], 6),
                "flips": None if answer is None else answer.flips,
                "caption": next((each.caption.text for each in inspections if each.caption is not None), None),
                # how many words of its captions are doubtful, where that was measured
                **({"doubtful": sum(each.is_doubtful for each in supports)} if supports else {}),
                "inspections": list(blocks.get(name, ())),
                "thumb": None,
            }
        )
    return rows


def still(name: str, inspections: Sequence[Inspection], content: InspectedPage) -> views.View:
    """What stands of a picture where no script runs: it, its first map over it, the sentence, and the numbers."""
    inspection = inspections[0]
    view: views.View = {"name": name, "frame": None, "sentences": [sentence(each) for each in inspections]}
    values, signed, about = _first_map(inspection)
    if inspection.picture is not None and content.show_pictures:
        with Image.open(io.BytesIO(inspection.picture.content)) as image:
            size, fine = (STILL, 8) if len(content.pictures) <= TABLES else (STILLS, 2)
            heatmap = None if values is None else Heatmap(values, inspection.grid, name)
            view["frame"] = views.frame(image, heatmap, content.colours, size, signed, fine)
    view["map"] = about
    words = () if inspection.caption is None else inspection.caption.words
    view["words"] = [
        (
            each.text,
            each.part or "",
            *("" if share is None else f"{share:.3f}" for share in (each.probability, each.without)),
            "" if each.support is None else share_text(each.support.probability),
        )
        for each in words
    ]
    view["supported"] = any(each.support is not None for each in words)
    view["measured"] = None if inspection.caption is None else inspection.caption.measured
    supports = ((each.text, each.support) for each in words)
    view["doubtful"] = [
        (text, "; ".join((share_text(each.probability), *reasons_of(each))))
        for text, each in supports
        if each is not None and each.is_doubtful
    ]
    view["answers"] = [
        (label, f"{share:.3f}") for label, share in (inspection.answer.probabilities if inspection.answer else ())
    ]
    view["methods"] = [
        {
            "label": each.label,
            "target": each.target,
            "srg": "" if each.curve is None else f"{each.curve['srg']:+.3f}".replace("-", "\N{MINUS SIGN}"),
            "verdict": "" if each.verdict is None else f"{each.verdict['status']}: {each.verdict['text']}",
            "control": each.control,
        }
        for each in inspection.maps
        if each.against is None
    ]
    return view


def _first_map(inspection: Inspection) -> tuple[Float | None, bool, str | None]:
    """The map that stands over a picture where no script runs, whether it is signed, and what it is: the first of a
    method, or that of a caption's first noun."""
    entry = next((each for each in inspection.maps if not each.control), None)
    if entry is not None:
        target = "" if entry.target is None else f" of {entry.target}"
        return inspection.map_of(entry), entry.signed, f"{entry.label}{target}"
    words = [] if inspection.caption is None else [each for each in inspection.caption.words if each.index is not None]
    if not words:
        return None, False, None
    word = next((each for each in words if each.part == "noun"), words[0])
    return inspection.values("words")[word.index], False, f"where it looked for “{word.text}”"


def sentence(inspection: Inspection) -> str:
    """What a network says of a picture, in a line."""
    if inspection.caption is not None:
        return f"{inspection.network['name']}: {inspection.caption.text}"
    answer = inspection.answer
    if answer is None:
        return f"{inspection.network['name']} has no classes, so it gives no answer"
    (first, share), *others = answer.probabilities
    second = f", then {others[0][0]} ({others[0][1]:.2f})" if others else ""
    true = "" if answer.true is None else ", which is right" if answer.true == first else f"; it is {answer.true}"
    return f"{inspection.network['name']} says {first} ({share:.2f}){second}{true}"


def _anonymous(content: InspectedPage) -> InspectedPage:
    """The page with pictures numbered, and without names and paths in any text; class names and captions stay."""
    hide = Anonymiser(content.pictures, content.classes)
    return replace(
        content,
        title=hide.text(content.title),
        pictures=anonymous_inspections(content.pictures, hide),
        facts=hide.facts(content.facts),
        messages=[hide.text(message) for message in content.messages],
        provenance=hide.facts(content.provenance),
    )


def anonymous_inspections(
    pictures: Mapping[str, Sequence[Inspection]], hide: Anonymiser
) -> dict[str, list[Inspection]]:
    """The inspections under the pictures' new names, without names and paths in any text."""

    def anonymous(name: str, inspection: Inspection) -> Inspection:
        maps = [replace(each, verdict=each.verdict and hide.facts(each.verdict)) for each in inspection.maps]
        return replace(
            inspection,
            name=hide.name(name),
            network={**inspection.network, "name": hide.text(str(inspection.network["name"]))},
            maps=tuple(maps),
            absent=hide.facts(inspection.absent),
            provenance=hide.facts(inspection.provenance),
        )

    return {hide.name(name): [anonymous(name, each) for each in listed] for name, listed in pictures.items()}
