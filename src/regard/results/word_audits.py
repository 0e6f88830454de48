"""What an audit of a captioner leaves in a folder, and what is read from it again.

audit.json     sentences, verdicts, and every number with its interval and baseline
words.parquet  a row for each word: what was measured on it
support.json   the fitted model of word support, where there were wrong words enough for one
manifest.json  written last
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regard.files import read_json, readable, reading, write_json
from regard.records import AuditedWord, WordAudit, read_manifest, write_manifest
from regard.results.parquet import read_rows, write_rows

KIND = "word audit"
AUDIT = "audit.json"
WORDS = "words.parquet"
SUPPORT = "support.json"
AGAIN = "restore it, or audit again: `regard audit DATA --model CAPTIONER`"
COLUMNS = {
    **dict.fromkeys(("unit", "picture"), "string"),
    "place": "int64",
    **dict.fromkeys(("text", "kind", "claim"), "string"),
    "right": "bool",
}


def write_word_audit(folder: Path, audit: WordAudit) -> None:
    """The numbers and the words into an existing folder; the manifest last."""
    write_json(folder / AUDIT, audit.as_json())
    numbers = sorted({name for word in audit.words for name in word.numbers})
    columns = {**COLUMNS, **{readable(name): "float64" for name in numbers}}
    write_rows(folder / WORDS, _rows(audit), columns, ("text", "kind"), "audited words", {})
    if audit.support is not None:
        write_json(folder / SUPPORT, dict(audit.support))
    write_manifest(folder, KIND, n=audit.n, note=audit.note, provenance=dict(audit.provenance))


def _rows(audit: WordAudit) -> Iterator[Mapping[str, Any]]:
    for word in audit.words:
        names = {"unit": readable(word.unit), "picture": readable(word.picture)}
        texts = {**names, "text": readable(word.text), "kind": word.kind, "claim": word.claim}
        numbers = {readable(name): value for name, value in word.numbers.items()}
        yield {**texts, "place": word.place, "right": word.right, **numbers}


def read_word_audit(folder: Path | str) -> WordAudit:
    """What `write_word_audit` wrote. Raises `DataError` when it is not whole or something else."""
    folder = Path(folder)
    read_manifest(folder, KIND, {"n": int})
    stored = read_json(folder / AUDIT, AGAIN)
    with reading(folder / AUDIT, AGAIN):
        _, rows = read_rows(folder / WORDS, "audited words", "words of an audit", "audit")
        return WordAudit.from_json(stored, tuple(map(_word, rows)))


def _word(row: Mapping[str, Any]) -> AuditedWord:
    rest = {name: value for name, value in row.items() if name not in COLUMNS and value is not None}
    numbers = {name: float(value) for name, value in rest.items() if math.isfinite(value)}
    about = (row["unit"], int(row["place"]), row["text"], row["kind"], row["claim"], row["right"])
    return AuditedWord(*about, numbers, row.get("picture") or "")
