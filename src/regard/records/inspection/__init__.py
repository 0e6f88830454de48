"""All that the viewer shows of one picture by one network, and how it is packed into a page.

inspection.py   Inspection          parts.py   what it is made of
packing.py      to bytes, to JSON, and back (docs/inspections.md)
"""

from regard.records.inspection.inspection import Inspection
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
]
