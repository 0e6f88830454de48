"""What the pipeline hands on: frozen results with their provenance, in numpy alone.

A record can be saved, loaded and drawn where torch is not installed. Layers, heads, rows, columns and class indices
count from 0. Pictures are (height, width), boxes are (left, top, right, bottom) in pixels of the user's own picture.

    grid.py            PatchGrid: where patches lie in a picture
    maps.py            Heatmap, Explanation
    completeness.py    Completeness: what a map and what it does not hold sum to
    removal.py         RemovalCurve: what becomes of a class while the patches of a map go
    captions.py        Word, WordSupport, Caption, Captions
    classification.py  Classification: predictions for pictures without labels
    scores.py          Score and all that is made of scores; Positions
    multilabel.py      scores of pictures with any number of labels
    comparison.py      runs side by side on the same pictures
    audits/            Audit: verdicts on methods, and every number with its baseline; WordAudit: on words; side by side
    mending.py         Mending: a network mended, before, after and placebo
    exported.py        Exported: what an export left, and how near it is
    inspection/        Inspection: all that the viewer shows of one picture
    manifest.py        the file that finishes a result folder
    quantised.py       maps as bytes, for the viewer
    display.py         what a notebook shows of a record: its text or its picture
"""

from regard.records.audits.audit import Audit, AuditedPicture, Choice, Failure, RemovalCurves
from regard.records.audits.comparison import AuditComparison, AuditDifference
from regard.records.audits.in_domain import InDomain
from regard.records.audits.verdicts import Finding, Verdict
from regard.records.audits.word_comparison import WordAuditComparison
from regard.records.audits.words import AuditedWord, WordAudit, WordClaim, WordExample
from regard.records.captions import END, START, Caption, Captions, Word, WordSupport, support_text
from regard.records.classification import Classification
from regard.records.comparison import Change, ComparedRun, Comparison, Difference, PartDifference
from regard.records.completeness import Completeness
from regard.records.exported import Exported, Parity, Variant
from regard.records.grid import Box, Float, PatchGrid
from regard.records.inspection import Inspection
from regard.records.manifest import read_manifest, write_long_manifest, write_manifest
from regard.records.maps import Explanation, Heatmap, Target
from regard.records.mending import Mending, PairedMeasure
from regard.records.multilabel import (
    LabelComparison,
    LabelDifference,
    LabelPredictions,
    LabelScores,
    LabelSlice,
    MultiLabelEvaluation,
)
from regard.records.removal import RemovalCurve
from regard.records.scores import (
    CaptionEvaluation,
    ClassScores,
    Evaluation,
    Positions,
    Predictions,
    ReliabilityBin,
    Score,
    SliceScore,
)

__all__ = [
    "END",
    "START",
    "Audit",
    "AuditComparison",
    "AuditDifference",
    "AuditedPicture",
    "AuditedWord",
    "Box",
    "Caption",
    "CaptionEvaluation",
    "Captions",
    "Change",
    "Choice",
    "ClassScores",
    "Classification",
    "ComparedRun",
    "Comparison",
    "Completeness",
    "Difference",
    "Evaluation",
    "Explanation",
    "Exported",
    "Failure",
    "Finding",
    "Float",
    "Heatmap",
    "InDomain",
    "Inspection",
    "LabelComparison",
    "LabelDifference",
    "LabelPredictions",
    "LabelScores",
    "LabelSlice",
    "Mending",
    "MultiLabelEvaluation",
    "PairedMeasure",
    "Parity",
    "PartDifference",
    "PatchGrid",
    "Positions",
    "Predictions",
    "ReliabilityBin",
    "RemovalCurve",
    "RemovalCurves",
    "Score",
    "SliceScore",
    "Target",
    "Variant",
    "Verdict",
    "Word",
    "WordAudit",
    "WordAuditComparison",
    "WordClaim",
    "WordExample",
    "WordSupport",
    "read_manifest",
    "support_text",
    "write_long_manifest",
    "write_manifest",
]
