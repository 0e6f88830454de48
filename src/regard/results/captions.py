"""A folder of captions on the disk: `captions.json` with a line for each, and the maps of each picture's words."""

import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import DataError
from regard.files import json_text, reading, write_file
from regard.records.captions import Caption, Word, WordSupport, focus, peak
from regard.records.grid import Float, PatchGrid
from regard.records.manifest import read_manifest
from regard.records.maps import Heatmap
from regard.results.writer import ResumableWriter

KIND = "captions"
FILE = "captions.json"
MAPS = "maps.bin"
EXAMPLES = 8  # captions that are shown on the screen
NAMED = 3  # pictures named in a message, at most

Entry = Mapping[str, Any]
"""A caption as `captions.json` has it."""


def read_captions(folder: Path | str) -> Iterator[Caption]:
    """The captions of a finished folder, read one by one. Raises `DataError` when it is not whole or something else."""
    folder = Path(folder)
    manifest = read_manifest(folder, KIND, {"provenance": dict})
    return _read_each(folder, manifest)


def _read_each(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Caption]:
    with reading(folder / FILE, "caption the pictures again, or restore it"):
        for entry in _entries(folder / FILE):
            yield _caption(entry, folder, manifest)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """The file is a list with a line for each caption, so that no more than one need be held."""
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            text = line.strip().removesuffix(",")
            if text in ("[", "]"):
                continue
            try:
                entry = json.loads(text)
                if not isinstance(entry, dict):
                    raise ValueError(f"a {type(entry).__name__} where a picture should be")
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{file} is not as regard wrote it, a line for each picture ({error}); caption them again"
                ) from error
            yield entry


def _caption(entry: Entry, folder: Path, manifest: Mapping[str, Any]) -> Caption:
    grid = PatchGrid.from_json(entry["grid"])
    name = entry["name"]
    maps = np.load(folder / entry["maps"], allow_pickle=False)  # (words, rows, columns)
    words = tuple(word_of(word, values, grid, name) for word, values in zip(entry["words"], maps, strict=True))
    return Caption(name, entry["text"], words, manifest["provenance"], grid=grid, which=entry.get("which"))


def word_of(stored: Mapping[str, Any], values: Float, grid: PatchGrid, name: str) -> Word:
    """A word as it was stored, by its `text`, `probability` and `part_of_speech`, with its map (rows, columns)."""
    probability = 1.0 if stored["probability"] is None else stored["probability"]  # <start> has none
    return Word(
        stored["text"],
        probability,
        Heatmap(values, grid, name),
        stored["part_of_speech"],
        stored.get("log_probability"),
        checks=stored.get("checks"),
        support=None if stored.get("support") is None else WordSupport.from_json(stored["support"]),
    )


def supports_of(entry: Entry) -> list[tuple[str, WordSupport | None]]:
    """The words of a caption, each with its support where it has some."""
    stored = ((word["text"], word.get("support")) for word in entry["words"])
    return [(text, None if support is None else WordSupport.from_json(support)) for text, support in stored]


def caption_entry(caption: Caption, files: Mapping[str, str]) -> dict[str, Any]:
    """What `captions.json` has of a caption; `files` are those that were written of it."""
    depends = bool(caption.settings.get("depends"))
    return {
        "name": caption.name,
        **({} if caption.which is None else {"which": caption.which}),
        "text": caption.text,
        **({} if caption.unknown_words is None else {"unknown": list(caption.unknown_words)}),
        "limit_reached": not caption.finished,
        "log_probability": _number(caption.log_probability),
        **files,
        "grid": None if caption.grid is None else asdict(caption.grid),
        "words": [{**_word_entry(word, depends), **_check_entry(word, caption.settings)} for word in caption.words],
        "steps": [
            {
                **_choice(step.piece, step.log_probability),
                "alternatives": [_choice(piece, log_probability) for piece, log_probability in step.alternatives],
            }
            for step in caption.steps
        ],
    }


def _word_entry(word: Word, depends: bool) -> dict[str, Any]:
    log = _number(word.log_probability)
    dependence = None if word.dependence is None else _numbers(asdict(word.dependence))
    return {
        "text": word.text,
        "probability": None if log is None else math.exp(log),
        "log_probability": log,
        "part_of_speech": word.part_of_speech,
        "steps": None if word.steps is None else list(word.steps),
        **_map_entry(word.heatmap),
        **({"depends": dependence} if depends else {}),
    }


def _check_entry(word: Word, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A word's checks where words were checked, and its support where what they were measured on is known."""
    entry: dict[str, Any] = {}
    if "check" in settings:
        entry["checks"] = word.checks and _numbers(word.checks)
    if "support" in settings:
        support = None if word.support is None else asdict(word.support)
        entry["support"] = support and {**support, "probability": _number(support["probability"])}
    return entry


def _map_entry(heatmap: Heatmap | None) -> dict[str, Any]:
    """How narrow a map is, and where it is highest; one with negative values has no share that lies anywhere."""
    entry: dict[str, Any] = {"focus": None, "peak": None}
    if heatmap is None:
        return entry
    narrow = None if heatmap.values.min() < 0 else focus(heatmap.values)
    if narrow is not None:
        entry["focus"] = _numbers(asdict(narrow))
    top = peak(heatmap)
    if top is not None:
        box = [round(edge, 2) for edge in top.box]
        entry["peak"] = {"row": top.row, "column": top.column, "value": _number(top.value), "box": box}
    return entry


def _choice(piece: str, log_probability: float) -> dict[str, Any]:
    log = _number(log_probability)
    return {"piece": piece, "probability": 0.0 if log is None else math.exp(log), "log_probability": log}


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float | None) -> float | None:
    """Six significant digits, as float32 holds no more; None for what JSON lacks: impossible pieces have -inf."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


class CaptionWriter(ResumableWriter):
    """Captions on their way to the disk. They take longer than a flush does, so that each batch is flushed."""

    command = "caption"

    def add_caption(self, caption: Caption, panel: str | None = None) -> None:
        """Write a caption and its maps: beside its `panel`, a file of the result folder, or with all others."""
        maps = caption.maps
        files: dict[str, str] = {}
        if panel is None:
            self.write(MAPS, np.ascontiguousarray(maps, "<f4").tobytes())
        else:
            files = {"panel": panel, "maps": f"maps/{panel.removesuffix('.png')}.npy"}
            array = io.BytesIO()
            np.save(array, maps, allow_pickle=False)
            write_file(self.result / files["maps"], array.getvalue())
        self.add(caption_entry(caption, files))

    def entries_with_maps(self) -> Iterator[tuple[dict[str, Any], Float]]:
        """Each entry with the maps (words, rows, columns) that stand with all others, read from the disk one by one."""
        path = self.folder / MAPS
        with path.open("rb") if path.exists() else io.BytesIO() as file:
            for entry in self.entries():
                shape = len(entry["words"]), entry["grid"]["rows"], entry["grid"]["columns"]
                content = file.read(4 * math.prod(shape))
                yield entry, np.frombuffer(content, "<f4").reshape(shape)

    def write_entries(self) -> None:
        """All captions as one file of the result folder."""
        lines = (json_text(entry) for entry in self.entries())
        parts = (f"{',' if index else '['}\n{line}" for index, line in enumerate(lines))
        write_file(self.result / FILE, chain(parts, ["\n]\n"]))


@dataclass
class Names:
    """Names of which something holds: how many there are, and the first few."""

    n: int = 0
    first: tuple[str, ...] = ()

    def add(self, name: str) -> None:
        self.n += 1
        if self.n <= NAMED:
            self.first = (*self.first, name)


class Tally:
    """Counts over all captions: those at the length limit, those without words, and words that are unknown.

    `examples` are the first captions, as (name, text), `checked` their entries where words were checked; `doubtful`
    counts the doubtful words of all that follow these.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.n = 0
        self.examples: list[tuple[str, str]] = []
        self.checked: list[Entry] = []
        self.doubtful = 0
        self.cut = Names()
        self.empty = Names()
        self.unknown = Names()
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        name = entry["name"]
        self.n += 1
        if self.n <= EXAMPLES:
            self.examples.append((name, entry["text"]))
            self.checked += [entry] if any(word.get("checks") for word in entry["words"]) else []
        else:
            self.doubtful += sum(support is not None and support.is_doubtful for _, support in supports_of(entry))
        if entry["limit_reached"]:
            self.cut.add(name)
        if not entry["text"]:
            self.empty.add(name)
        for word in entry.get("unknown", ()):
            self.unknown.add(f"{word} in {name}")

    def warnings(self, network: str, limit: int | None, most: int) -> Iterator[str]:
        """What a user should know of all captions together, of a `network` that says at most so many tokens."""
        if self.cut.n:
            advice = f"give a higher --limit, up to {most}" if (limit or most) < most else "the network takes no more"
            yield (
                f"{_several(self.cut, 'caption')} reached the length limit of {limit} tokens and {_have(self.cut)} "
                f"no <end>; {advice}"
            )
        if self.empty.n:
            yield f"{_several(self.empty, 'caption')} {_have(self.empty)} no words: the network ended at once"
        if self.unknown.n:
            verb = "is" if self.unknown.n == 1 else "are"
            yield f"{_several(self.unknown, 'word')} {verb} unknown to {network}, which reads [UNK] there"


def _several(names: Names, what: str) -> str:
    listed = ", ".join(names.first) + (", ..." if names.n > len(names.first) else "")
    return f"{names.n} {what}{'s' if names.n != 1 else ''} ({listed})"


def _have(names: Names) -> str:
    return "has" if names.n == 1 else "have"
