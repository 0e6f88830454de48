"""What an audit leaves in a folder, and what is read from it again.

audit.json        sentences, verdicts, and every number with its interval and baseline
pictures.parquet  a row for each picture: what was measured on it
maps/METHOD/      the maps of a method over a few pictures, as an explanation's folder
manifest.json     written last
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regard.errors import UsageError
from regard.files import is_file, read_json, readable, reading, write_json
from regard.records import (
    Audit,
    AuditComparison,
    AuditedPicture,
    Explanation,
    WordAudit,
    WordAuditComparison,
    read_manifest,
    write_manifest,
)
from regard.results.parquet import read_rows, write_rows
from regard.results.predictions import SLICE
from regard.results.word_audits import KIND as WORD_KIND
from regard.results.word_audits import read_word_audit

KIND = "audit"
AUDIT = "audit.json"
PICTURES = "pictures.parquet"
MAPS = "maps"
AGAIN = "restore it, or audit again: `regard audit DATA --model M`"
FLIPS = "flips:"
"""What the column of a change begins with, as a class may be called anything."""
TEXTS = ("name", "label", "predicted")


def write_audit(folder: Path, audit: Audit) -> None:
    """The numbers, the pictures and the maps into an existing folder; the manifest last."""
    write_json(folder / AUDIT, audit.as_json())
    numbers = sorted({name for picture in audit.pictures for name in picture.numbers})
    flips = sorted({f"{FLIPS}{name}" for picture in audit.pictures for name in picture.flips})
    flips += sorted({f"{SLICE}{name}" for picture in audit.pictures for name in picture.slices})
    columns = {
        **dict.fromkeys(TEXTS, "string"),
        **dict.fromkeys(("confidence", *numbers), "float64"),
        **dict.fromkeys(flips, "string"),
    }
    names = {readable(name): column for name, column in columns.items()}
    write_rows(folder / PICTURES, _rows(audit), names, ("label", "predicted", *flips), "audited pictures", {})
    for explanation in audit.examples:
        place = folder / MAPS / explanation.method
        place.mkdir(parents=True)
        explanation.write(place)
    methods = [explanation.method for explanation in audit.examples]
    write_manifest(folder, KIND, n=audit.n, note=audit.note, maps=methods, provenance=dict(audit.provenance))


def _rows(audit: Audit) -> Iterator[Mapping[str, Any]]:
    for picture in audit.pictures:
        row = {name: readable(getattr(picture, name)) for name in TEXTS}
        flips = {readable(f"{FLIPS}{name}"): readable(value) for name, value in picture.flips.items()}
        flips |= {readable(f"{SLICE}{name}"): readable(value) for name, value in picture.slices.items()}
        numbers = {readable(name): value for name, value in picture.numbers.items()}
        yield {**row, "confidence": picture.confidence, **numbers, **flips}


def read_audit(folder: Path | str) -> Audit:
    """What `write_audit` wrote. Raises `DataError` when it is not whole or something else."""
    folder = Path(folder)
    manifest = read_manifest(folder, KIND, {"n": int, "maps": list})
    stored = read_json(folder / AUDIT, AGAIN)
    with reading(folder / AUDIT, AGAIN):
        _, rows = read_rows(folder / PICTURES, "audited pictures", "pictures of an audit", "audit")
        examples = tuple(Explanation.load(folder / MAPS / name) for name in manifest["maps"])
        return Audit.from_json(stored, tuple(map(_picture, rows)), examples)


def read_audits(folders: Mapping[str, Path | str]) -> dict[str, Audit] | dict[str, WordAudit] | None:
    """The audits by name; None where none of the folders holds one. Raises `UsageError` where some alone do, or where
    some are of captioners and others of classifiers."""
    manifests = {name: Path(folder) / "manifest.json" for name, folder in folders.items()}
    kinds = {name: str(read_json(path, AGAIN).get("kind")) if is_file(path) else "" for name, path in manifests.items()}
    if not {KIND, WORD_KIND} & set(kinds.values()):
        return None
    others = [name for name, kind in kinds.items() if kind not in (KIND, WORD_KIND)]
    if others:
        raise UsageError(f"{', '.join(others)}: no audit, but another of them is one; compare audits with audits alone")
    if len(set(kinds.values())) > 1:
        words = [name for name, kind in kinds.items() if kind == WORD_KIND]
        raise UsageError(
            f"{', '.join(words)}: an audit of a captioner, but another of them is of a classifier; "
            "compare audits of one kind"
        )
    if WORD_KIND in kinds.values():
        return {name: read_word_audit(folder) for name, folder in folders.items()}
    return {name: read_audit(folder) for name, folder in folders.items()}


def write_audit_comparison(folder: Path, comparison: AuditComparison | WordAuditComparison) -> None:
    """The numbers of audits side by side, as JSON; the manifest last."""
    write_json(folder / "comparison.json", comparison.as_json())
    write_manifest(folder, "audit comparison", audits=list(comparison.audits))


def _picture(row: Mapping[str, Any]) -> AuditedPicture:
    rest = {name: value for name, value in row.items() if name not in (*TEXTS, "confidence") and value is not None}
    flips = {name.removeprefix(FLIPS): value for name, value in rest.items() if name.startswith(FLIPS)}
    slices = {name.removeprefix(SLICE): value for name, value in rest.items() if name.startswith(SLICE)}
    numbers = {name: value for name, value in rest.items() if not isinstance(value, str) and math.isfinite(value)}
    return AuditedPicture(row["name"], row["label"], row["predicted"], row["confidence"], numbers, flips, slices)
