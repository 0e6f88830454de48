"""One export from beginning to end: checked first, written aside, moved to its place when it is whole."""

import logging
import shutil
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from regard.errors import OutputError, UsageError
from regard.exports import EXPORTS, Export
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.files import check_free, claimed, new_folder, put_file, write_file, writing
from regard.records import write_manifest
from regard.records.exported import Exported

log = logging.getLogger("regard")

CARD = "README.md"
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


def write_export(source: ExportSource, name: str, out: Path, settings: ExportSettings) -> Exported:
    """Export a network by the row `name` to `out`: all of it, or nothing, and what was there until then stays.

    Raises `UsageError` for settings that the row does not understand, and `OutputError` where `out` is not free, is the
    run itself, or the export's answers are not the network's.
    """
    row = EXPORTS[name]
    check_export(row, out, settings)
    if source.run is not None and out.resolve() == source.run.resolve():
        raise OutputError(f"{out} is the run that is exported, which stays; choose another --out")
    write = EXPORTS.load(name)
    if not row.ending(settings):
        with new_folder(out, settings.overwrite) as folder:
            exported: Exported = write(source, folder, settings)
            write_file(folder / CARD, source.card(name))
            files = tuple(sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()))
            exported = replace(exported, path=out, files=files)
            about = {key: value for key, value in exported.as_json().items() if key not in ("kind", "path", "pushed")}
            write_manifest(folder, KIND, to=name, **about, provenance=source.provenance)
        return exported
    with claimed(out), writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            exported = write(source, aside / out.name, settings)
            put_file(aside / out.name, out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return replace(exported, path=out, files=(out.name,))
