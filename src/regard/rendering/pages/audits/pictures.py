"""The pictures on the page of an audit: those that fool the network, and some with every method's map."""

from collections.abc import Mapping, Sequence

from PIL import Image

from regard.records import Audit, AuditedPicture, Explanation, Heatmap
from regard.records.audits.verdicts import is_control
from regard.rendering import colour
from regard.rendering.pages import views

MAP = 220
"""The longer side in pixels of pictures with maps over them: each is on the page once for every method."""
CARDS = 12
"""Pictures that flip, and surest mistakes, that are shown as pictures."""
SHOWN = 300
"""Pictures of which the page shows anything."""
LINES = 100
"""Those that are listed, where there are no thumbnails."""


def picture_names(audit: Audit) -> list[str]:
    """Those of which the page shows something, where there are thumbnails: its sections, and others its gallery."""
    examples = (heatmap.name for each in audit.examples for heatmap in each)
    fooled = (each.name for rows in (_flipped(audit), _mistakes(audit)) for _, each in rows[:CARDS])
    return list(dict.fromkeys([*examples, *fooled, *(each.name for each in audit.pictures)]))[:SHOWN]


def _flipped(audit: Audit) -> list[tuple[int, AuditedPicture]]:
    """Pictures that are answered otherwise with something changed, with their places, the surest first."""
    return sorted(((n, each) for n, each in enumerate(audit.pictures) if each.flips), key=_unsure)


def _mistakes(audit: Audit) -> list[tuple[int, AuditedPicture]]:
    """Wrong answers, with their places, the surest first."""
    return sorted(((n, each) for n, each in enumerate(audit.pictures) if each.right is False), key=_unsure)


def _unsure(placed: tuple[int, AuditedPicture]) -> float:
    return -placed[1].confidence


def galleries(audit: Audit, pictures: Mapping[str, Image.Image]) -> list[views.View]:
    """Pictures that flip, and the surest mistakes, each where there are any."""
    both = [
        _gallery(
            "Pictures that flip",
            "With the object on another background another class is predicted, though on its own filled background the "
            "answer is still that of the whole picture: the background has decided.",
            _flipped(audit),
            pictures,
        ),
        _gallery("Surest mistakes", "Wrong answers, the surest first.", _mistakes(audit), pictures),
    ]
    return [each for each in both if each["of"]]


def _gallery(
    name: str, meaning: str, chosen: Sequence[tuple[int, AuditedPicture]], pictures: Mapping[str, Image.Image]
) -> views.View:
    cards: list[views.View] = []
    lines = []
    for index, each in chosen[:LINES]:
        view = {
            "index": index,
            "name": each.name,
            "true": each.label or None,
            "predicted": each.predicted,
            "right": each.right,
            "confidence": f"{each.confidence:.2f}",
            "flips": list(each.flips.items()),
        }
        image = pictures.get(each.name)
        if image is None:
            lines.append(view)
        elif len(cards) < CARDS:
            cards.append({**view, **views.frame(image, None, colour.OVERLAY)})
    views.name_cards(cards)
    lines = [] if cards else lines
    count = len(cards) + len(lines)
    return {"name": name, "meaning": meaning, "cards": cards, "lines": lines, "of": len(chosen), "shown": count}


def example_maps(audit: Audit, pictures: Mapping[str, Image.Image]) -> list[views.View]:
    """Some pictures, each with the map of every method and the verdict on it."""
    audited = {each.name: each for each in audit.pictures}
    places = {name: place for place, name in enumerate(audited)}
    names = dict.fromkeys(heatmap.name for each in audit.examples for heatmap in each)
    examples = []
    for name in names:
        maps = [(each, heatmap) for each in audit.examples for heatmap in each if heatmap.name == name]
        image = pictures.get(name)
        picture = audited.get(name)
        examples.append(
            {
                "index": places.get(name, ""),
                "name": name,
                "true": picture.label or None if picture else None,
                "predicted": picture.predicted if picture else "",
                "right": picture.right if picture else None,
                "confidence": f"{picture.confidence:.2f}" if picture else "",
                "blank": image is None,
                "maps": [_map(audit, each, heatmap, image) for each, heatmap in maps],
            }
        )
    views.name_cards(examples)
    return examples


def _map(audit: Audit, method: Explanation, heatmap: Heatmap, image: Image.Image | None) -> views.View:
    """A map over its picture, or by itself, and the verdict that holds for it."""
    height, width = heatmap.grid.picture
    scale = MAP / max(height, width)
    blank = image or Image.new("RGB", (max(1, round(width * scale)), max(1, round(height * scale))), colour.UNSEEN)
    colours = colour.default(method.signed)
    verdicts = [each for each in audit.verdicts if (each.method, each.settings) == (method.method, method.settings)]
    return {
        "method": method.method,
        "planted": is_control(method.method),
        "status": verdicts[0].status if verdicts else "",
        "target": "" if heatmap.target is None else "of the predicted class",
        **views.frame(blank, heatmap, colours, MAP, method.signed),
    }
