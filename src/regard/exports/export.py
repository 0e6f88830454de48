"""One export from beginning to end: checked first, written aside, moved to its place when it is whole."""

import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from regard.errors import OutputError, UsageError
from regard.exports import EXPORTS, Export
from regard.exports.hub import CARD, check_push, push
from regard.exports.settings import ExportSettings
from regard.files import check_free, claimed, folder_beside, new_folder, put_file, write_file, writing
from regard.records import write_manifest
from regard.records.exported import Exported

if TYPE_CHECKING:
    from regard.exports.source import ExportSource

KIND = "export"
"""The kind of the manifest of an export that is a folder."""
MODULES = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
"""What must be importable where an extra is needed."""


def check_export(row: Export, out: Path, settings: ExportSettings) -> None:
    """Raise what is wrong before a network is loaded: a setting, the place, an extra that is not installed."""
    row.check(settings)
    ending = row.ending(settings)
    if ending and out.suffix != ending:
        raise UsageError(f"--to {row.name} writes one file; give --out NAME{ending}, not {out.name or out}")
    missing = [name for name in MODULES.get(row.extra, ()) if find_spec(name) is None]
    if missing:
        raise UsageError(f"--to {row.name} needs {', '.join(missing)}: pip install 'regard[{row.extra}]'")
    check_free(out, settings.overwrite)
    if settings.push_to is not None:
        check_push(settings.push_to)


def write_export(source: "ExportSource", name: str, out: Path, settings: ExportSettings) -> Exported:
    """Export a network by the row `name` to `out`: all of it, or nothing, and what was there until then stays.

    Raises `UsageError` for settings that the row does not understand, and `OutputError` where `out` is not free, is the
    run itself, or the export's answers are not the network's.
    """
    row = EXPORTS[name]
    check_export(row, out, settings)
    if source.run is not None and out.resolve() == source.run.resolve():
        raise OutputError(f"{out} is the run that is exported, which stays; choose another --out")
    write = _write_file if row.ending(settings) else _write_folder
    exported = write(source, row, out, settings)
    if settings.push_to is None:
        return exported
    return replace(exported, pushed=push(source, name, out, settings.push_to))


def _write_folder(source: "ExportSource", row: Export, out: Path, settings: ExportSettings) -> Exported:
    """The folder with its card, and the manifest last."""
    with new_folder(out, settings.overwrite) as folder:
        exported: Exported = EXPORTS.load(row.name)(source, folder, settings)
        write_file(folder / CARD, source.card(row.name))
        files = tuple(sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()))
        exported = replace(exported, path=out, files=files)
        about = {key: value for key, value in exported.as_json().items() if key not in ("kind", "path", "pushed")}
        write_manifest(folder, KIND, to=row.name, **about, provenance=source.provenance)
    return exported


def _write_file(source: "ExportSource", row: Export, out: Path, settings: ExportSettings) -> Exported:
    """The one file."""
    with claimed(out), writing(out):
        check_free(out, settings.overwrite)  # again: another process may have finished there while this one loaded
        aside = folder_beside(out)
        try:
            exported: Exported = EXPORTS.load(row.name)(source, aside / out.name, settings)
            put_file(aside / out.name, out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return replace(exported, path=out, files=(out.name,))
