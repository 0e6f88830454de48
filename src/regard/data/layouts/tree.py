"""What lies in a folder: pictures, folders that may hold some, and what is left out, which is named and counted."""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from regard.data.dataset import listed
from regard.data.images.formats import is_picture
from regard.data.openers import FileOpener, Opener
from regard.errors import DataError

log = logging.getLogger("regard")

_BESIDE = frozenset({"masks", "annotations", "labels", "trimaps", "segmentations", "boxes"})
"""Folders that, beside one called `images`, describe its pictures and hold none of their own."""

_DRAWN = frozenset({"objects", "parts"})
"""The same in a folder of drawn scenes."""

_SERVER_FOLDERS = frozenset(
    {"@eadir", "eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot", "__macosx"}
    | {"$recycle.bin", "system volume information", "lost+found", "network trash folder", "temporary items"}
    | {"recycler", "recycled", "_thumb_cache_"}
)
"""Folders in which file servers and systems keep thumbnails, and what was thrown away."""

_SERVER_FILES = ("synofile_thumb", "synophoto_thumb", "synoindex_")
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
"""Files that systems put into folders by themselves, and nobody misses."""

_DOCUMENTS = frozenset(
    {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".toml", ".ini"}
    | {".cfg", ".log", ".html", ".htm", ".py", ".ipynb", ".sh", ".pdf", ".doc", ".docx", ".xlsx", ".parquet", ".npz"}
)
"""Endings of files that describe pictures: a folder of these alone is no class."""

UNREAD = "no picture regard reads"
LINK = "a link that leads nowhere"
RESULT = "a result of regard"
SERVER = "a file server's thumbnails or bin"
BESIDE = "a description beside images/"

_PLURALS = {
    UNREAD: "files are no pictures regard reads",
    LINK: "links lead nowhere",
    RESULT: "folders are results of regard, and left out",
    SERVER: "folders or files are a file server's thumbnails or bins, and left out",
    BESIDE: "folders are descriptions beside images/",
}
_SINGULARS = {
    LINK: "link leads nowhere",
    UNREAD: "file is no picture regard reads",
    RESULT: "folder is a result of regard, and left out",
    SERVER: "is a file server's thumbnails or bin, and left out",
}


@dataclass(frozen=True)
class Entries:
    """What is visible right in a folder, by name: its pictures, its folders, and the rest with the reason why."""

    pictures: list[Path]
    folders: list[Path]
    rest: list[tuple[Path, str]]


@dataclass
class Tree:
    """Folders as they are read, each listed once."""

    root: Path
    _entries: dict[Path, Entries] = field(default_factory=dict)

    def opener(self, file: Path) -> Opener:
        """How a picture of the tree is opened."""
        return FileOpener(file)

    def pictures_in(self, folder: Path) -> list[Path]:
        """The picture files right in a folder, by name."""
        return self.entries(folder).pictures

    def folders_in(self, folder: Path) -> list[Path]:
        """The folders right in a folder, by name, without descriptions beside `images/` and results of regard."""
        return self.entries(folder).folders

    def pictures_below(self, folder: Path) -> list[Path]:
        """All pictures in a folder and below, by their POSIX path."""
        return sorted(self._walk(folder, set()), key=lambda file: file.relative_to(folder).as_posix())

    def has_pictures(self, folder: Path) -> bool:
        """Whether a folder holds pictures, at any depth."""
        return next(self._walk(folder, set()), None) is not None

    def inside(self, folder: Path) -> Path:
        """Where the pictures are: in `images/`, or a folder of the same name, when only descriptions lie beside it."""
        below = self.folders_in(folder)
        if (
            len(below) == 1
            and not self.pictures_in(folder)
            and below[0].name.lower() in ("images", folder.name.lower())
        ):
            return self.inside(below[0]) if below[0].name.lower() != "images" else below[0]
        return folder

    def is_bare(self, folder: Path) -> bool:
        """Whether a folder without pictures may be a class that lost them: it is not one of documents alone."""
        rest = list(self._rest_below(folder, set()))
        return not rest or any(reason != UNREAD or path.suffix.lower() not in _DOCUMENTS for path, reason in rest)

    def rest_text(self, folder: Path) -> str:
        """What a folder holds instead of pictures."""
        rest = list(self._rest_below(folder, set()))
        return "; ".join(self._texts(rest)) if rest else "it is empty"

    def report(self) -> None:
        """Say what was left out of all that was listed, a line for each reason."""
        rest = [row for entries in self._entries.values() for row in entries.rest]
        for text in self._texts(rest):
            log.warning(f"in {self.root} {text}")

    def _texts(self, rest: list[tuple[Path, str]]) -> Iterator[str]:
        for reason in _PLURALS:
            paths = sorted(path for path, other in rest if other == reason)
            if not paths:
                continue
            names = listed([path.relative_to(self.root).as_posix() for path in paths])
            kinds = Counter(path.suffix.lower() or "no ending" for path in paths)
            counts = f" ({', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))})"
            what = _SINGULARS.get(reason, f"is {reason}") if len(paths) == 1 else _PLURALS[reason]
            yield f"{len(paths)} {what}: {names}{counts if reason == UNREAD and len(paths) > 3 else ''}"

    def entries(self, folder: Path) -> Entries:
        """What is in a folder. Raises `DataError` where it cannot be listed."""
        if folder not in self._entries:
            try:
                paths = sorted(folder.iterdir())
            except OSError as error:
                raise DataError(f"{folder} cannot be read: {error.strerror}; change its rights, or move it") from error
            beside = _descriptions(paths)
            entries = Entries([], [], [])
            for path in paths:
                _sort(path, entries, beside)
            self._entries[folder] = entries
        return self._entries[folder]

    def _walk(self, folder: Path, visited: set[Path]) -> Iterator[Path]:
        """Pictures at any depth, through links too, but into no folder twice: links can make circles."""
        real = folder.resolve()
        if real in visited:
            return
        visited.add(real)
        yield from self.pictures_in(folder)
        for each in self.folders_in(folder):
            yield from self._walk(each, visited)

    def _rest_below(self, folder: Path, visited: set[Path]) -> Iterator[tuple[Path, str]]:
        real = folder.resolve()
        if real in visited:
            return
        visited.add(real)
        yield from self.entries(folder).rest
        for each in self.folders_in(folder):
            yield from self._rest_below(each, visited)


def _descriptions(paths: list[Path]) -> frozenset[str]:
    """The names of folders that describe the pictures in `images/` beside them."""
    names = {path.name.lower() for path in paths}
    if "images" not in names:
        return frozenset()
    return _BESIDE | _DRAWN if "scenes.jsonl" in names else _BESIDE


def _sort(path: Path, entries: Entries, beside: frozenset[str]) -> None:
    """Put what is in a folder where it belongs; what is hidden, or a system's own, nowhere."""
    name = path.name.lower()
    if name.startswith(".") or name in _SYSTEM_FILES:
        return
    if name in _SERVER_FOLDERS or name.startswith(_SERVER_FILES):
        entries.rest.append((path, SERVER))
    elif path.is_dir():
        if is_result(path):
            entries.rest.append((path, RESULT))
        elif name in beside:
            entries.rest.append((path, BESIDE))
        else:
            entries.folders.append(path)
    elif path.is_file():
        if is_picture(path):
            entries.pictures.append(path)
        else:
            entries.rest.append((path, UNREAD))
    else:
        entries.rest.append((path, LINK if path.is_symlink() else UNREAD))


_MANIFEST = re.compile(rb'\{\s*"schema":\s*\d+,\s*"kind":\s*"(?!scenes")')


def is_result(folder: Path) -> bool:
    """Whether regard wrote a folder as a result, whole or unfinished; drawn scenes are pictures like any."""
    if _begins(folder / "manifest.json", _MANIFEST) or _begins(folder / "model.json", rb'\{\s*"schema":\s*\d+,'):
        return True
    if (folder / "recipe.json").is_file() and (folder / "checkpoint" / "run.json").is_file():
        return True
    try:
        kind = json.loads((folder / "progress.json").read_bytes())["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return str(kind).startswith("regard ")


def _begins(file: Path, pattern: "re.Pattern[bytes] | bytes") -> bool:
    """Whether a file begins so; a manifest of many pictures is long."""
    try:
        with file.open("rb") as content:
            return re.match(pattern, content.read(200)) is not None
    except OSError:
        return False
