"""The manifest that finishes a result folder: its schema version, its kind, and an entry for each picture."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from regard.errors import DataError
from regard.files import SCHEMA, SCHEMAS, check_fields, is_file, json_text, read_json, write_file, write_json

AGAIN = "make it again, or restore it"
"""What to do about a result that is damaged."""


def write_manifest(folder: Path, kind: str, **content: Any) -> None:
    """Finish a result folder: `manifest.json` with schema version and kind, always the last file written.

    >>> write_manifest(Path("result"), "example", pictures=[])
    >>> read_manifest("result", "example")
    {'schema': 1, 'kind': 'example', 'pictures': []}
    """
    write_json(folder / "manifest.json", {"schema": SCHEMAS.get(kind, SCHEMA), "kind": kind, **content})


def write_long_manifest(folder: Path, kind: str, pictures: Iterable[Mapping[str, Any]], **content: Any) -> None:
    """The same with `pictures`, a line for each, written one by one: memory does not grow with their number."""
    head = json_text({"schema": SCHEMAS.get(kind, SCHEMA), "kind": kind, **content}, indent=2)
    write_file(folder / "manifest.json", _with_pictures(head.removesuffix("\n}"), pictures))


def _with_pictures(head: str, pictures: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield f'{head},\n  "pictures": ['
    for place, picture in enumerate(pictures):
        yield f"{',' if place else ''}\n    {json_text(picture)}"
    yield "\n  ]\n}\n"


def read_manifest(folder: Path | str, kind: str, fields: Mapping[str, type] | None = None) -> dict[str, Any]:
    """The manifest of a finished result folder of this kind; a `DataError` says what else it is.

    `fields` are those that the caller needs, with their types.
    """
    path = Path(folder) / "manifest.json"
    if not is_file(path):
        raise DataError(f"{folder} is not a finished result of regard: it has no manifest.json; {AGAIN}")
    manifest = read_json(path, AGAIN)
    if manifest.get("kind") != kind:
        raise DataError(f"{folder} holds a result of kind {manifest.get('kind')!r}, not {kind!r}; give such a folder")
    check_fields(manifest, path, AGAIN, DataError, fields or {})
    return manifest
