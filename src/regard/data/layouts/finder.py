"""Finds files by their names, however these write their accents: macOS takes letters apart (NFD), others do not."""

from pathlib import Path, PurePosixPath

from regard.data.dataset import composed
from regard.data.images.formats import SUFFIXES
from regard.files import exists, is_folder


class FileFinder:
    """Finds files below folders, each of which is listed once only, and only where a name is not there as written."""

    def __init__(self) -> None:
        self._names: dict[Path, dict[str, Path]] = {}
        self._stems: dict[Path, dict[str, Path]] = {}

    def file(self, folder: Path, text: str) -> Path | None:
        """The file of that path, `/` or `\\` between its parts, absolute or below `folder`."""
        found = self.path(folder, text)
        return found if found is not None and found.is_file() else None

    def path(self, folder: Path, text: str) -> Path | None:
        """The file or folder of that path."""
        for relative in dict.fromkeys((text, text.replace("\\", "/"))):
            if exists(folder / relative):
                return folder / relative
        if "\0" in text or composed(text) == text.encode("ascii", "ignore").decode():
            return None
        place = folder
        for part in PurePosixPath(text.replace("\\", "/")).parts:
            step = place / part
            if not exists(step):
                found = self._listed(place).get(composed(part))
                if found is None:
                    return None
                step = found
            place = step
        return place

    def without_ending(self, folder: Path, text: str) -> Path | None:
        """The first picture by name whose name without its ending is this."""
        path = folder / text
        parent = path.parent if is_folder(path.parent) else self.path(folder, str(PurePosixPath(text).parent))
        if parent is None or not parent.is_dir():
            return None
        if parent not in self._stems:
            files = sorted(parent.iterdir(), reverse=True)
            self._stems[parent] = {composed(file.stem): file for file in files if file.suffix.lower() in SUFFIXES}
        return self._stems[parent].get(composed(path.name))

    def _listed(self, folder: Path) -> dict[str, Path]:
        if folder not in self._names:
            paths = sorted(folder.iterdir()) if folder.is_dir() else []
            self._names[folder] = {composed(path.name): path for path in paths}
        return self._names[folder]
