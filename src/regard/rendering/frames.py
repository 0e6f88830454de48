"""What `.view()` of a record shows in a notebook: the page of inspections in a frame of its own."""

import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from regard.files import write_file
from regard.records import Caption, Captions, Explanation, Inspection
from regard.records.inspection import InspectedPicture, inspection_of_caption, inspection_of_map
from regard.rendering.figures.canvas import bare
from regard.rendering.pages.inspections import InspectedPage, inspection_page

MOST = 48
"""Pictures of a record that are shown: a notebook keeps all of them in its file."""
LONGEST = 1024
"""Their longer sides in pixels."""


@dataclass(frozen=True, repr=False)
class Frame:
    """A page in a notebook, `height` pixels high. Its script runs, and reaches neither the notebook nor any network."""

    page: str
    title: str
    height: int = 900

    def __repr__(self) -> str:
        return (
            f"{self.title}: a page of {len(self.page) / 1e6:.1f} MB, which notebooks show; .save(FILE.html) writes it"
        )

    def _repr_html_(self) -> str:
        style = f"width:100%;height:{self.height}px;border:0"
        content = html.escape(self.page)
        title = html.escape(self.title)
        rights = "allow-scripts allow-downloads"
        return f'<iframe sandbox="{rights}" title="{title}" style="{style}" srcdoc="{content}"></iframe>'

    def save(self, path: Path | str) -> Path:
        """Write the page, which opens anywhere."""
        return write_file(path, self.page)


def view(record: Inspection | Explanation | Caption | Captions, height: int) -> Frame:
    """The frame of a record; of many pictures the first 48."""
    inspections = _inspections(record)
    pictures = {name: inspections[name] for name in list(inspections)[:MOST]}
    more = [f"Shown are the first {MOST} of {len(inspections)} pictures."] if len(inspections) > MOST else []
    title = next((f"{each.name} by {each.network['name']}" for several in pictures.values() for each in several), "")
    provenance = next((each.provenance for several in pictures.values() for each in several), {})
    page = InspectedPage(title, pictures, messages=more, provenance=provenance)
    return Frame(str(inspection_page(page)), title, height)


def _inspections(record: Inspection | Explanation | Caption | Captions) -> Mapping[str, Sequence[Inspection]]:
    if isinstance(record, Inspection):
        return {record.name: [record]}
    if isinstance(record, Explanation):
        several = [inspection_of_map(record, index, _jpeg(each.image)) for index, each in enumerate(record)]
    else:
        captions = record if isinstance(record, Captions) else [record]
        several = [inspection_of_caption(each, _jpeg(each.image)) for each in captions]
    by_name: dict[str, list[Inspection]] = {}
    for inspection in several:
        by_name.setdefault(inspection.name, []).append(inspection)
    return by_name


def _jpeg(opener: Callable[[int], Image.Image] | None) -> InspectedPicture | None:
    """The picture, where it is known to the record."""
    if opener is None:
        return None
    image = bare(opener(LONGEST))
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, optimize=True, progressive=True)
    return InspectedPicture(file.getvalue(), image.height, image.width)
