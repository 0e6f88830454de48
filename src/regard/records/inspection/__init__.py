"""All that the viewer shows of one picture by one network, and how it is packed into a page.

inspection.py   Inspection          parts.py   what it is made of
of_records.py   those of captions and of explanations
packing.py      to bytes, to JSON, and back (docs/inspections.md)
"""

from regard.records.inspection.inspection import Inspection
from regard.records.inspection.of_records import inspection_of_caption, inspection_of_map
from regard.records.inspection.parts import (
    MOST_ON_A_PAGE,
    Answer,
    ArtifactTokens,
    InspectedCaption,
    InspectedMap,
    InspectedPicture,
    InspectedWord,
    Keys,
    Lens,
)

__all__ = [
    "MOST_ON_A_PAGE",
    "Answer",
    "ArtifactTokens",
    "InspectedCaption",
    "InspectedMap",
    "InspectedPicture",
    "InspectedWord",
    "Inspection",
    "Keys",
    "Lens",
    "inspection_of_caption",
    "inspection_of_map",
]
