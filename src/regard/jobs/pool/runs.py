"""Runs that are looked at: their scores, and their pictures, each read when it is asked for and by its number alone."""

import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from regard.data.dataset import Picture
from regard.data.images.decode import thumbnail
from regard.data.layouts import read_pictures
from regard.errors import DataError, RegardError
from regard.files import is_file, read_json
from regard.jobs.pool.errors import RequestError, without_advice
from regard.records import Predictions
from regard.results.evaluations import EVALUATION, PREDICTIONS, SCORES, read_predictions

log = logging.getLogger("regard")

AGAIN = "score again: `regard evaluate DATA --model RUN --out FOLDER`"
SIDES = (160, 320, 640)
"""Longer sides of thumbnails: few, so that they are kept."""
CACHED = 32_000_000
"""Bytes of thumbnails that are kept."""


def evaluation_folder(folder: Path | str) -> Path | None:
    """Where the evaluation of a run lies, or of a folder that `regard evaluate` wrote; None where there is none."""
    places = (Path(folder) / EVALUATION, Path(folder))
    return next((place for place in places if is_file(place / SCORES) and is_file(place / PREDICTIONS)), None)


class ServedRun:
    """An evaluation in `folder`, and where in `data` its pictures are: found by their names."""

    def __init__(self, name: str, folder: Path, data: str | None) -> None:
        self.name = name
        self.folder = folder
        self.data = data

    @cached_property
    def scores(self) -> dict[str, Any]:
        """What `scores.json` holds. Raises `DataError` where it is damaged."""
        stored: dict[str, Any] = read_json(self.folder / SCORES, AGAIN, fields={"classes": list})
        return stored

    @cached_property
    def predictions(self) -> Predictions:
        return read_predictions(self.folder, self.scores["classes"])

    @cached_property
    def pictures(self) -> Mapping[str, Picture]:
        """The pictures of the data by name; none where the data are not known."""
        if self.data is None:
            return {}
        pictures = read_pictures(self.data).pictures
        return {name: each for each in pictures for name in (each.filename or each.name, each.name)}

    def picture(self, index: int) -> Picture:
        """The picture in a row of the evaluation. Raises `RequestError` for a row that there is not, or a picture that
        is not at hand."""
        if not 0 <= index < len(self.predictions):
            raise RequestError(
                404, f"{self.name} has no picture {index}; there are {len(self.predictions)}, from 0; take one of them"
            )
        name = self.predictions.names[index]
        files = self.predictions.filenames or self.predictions.names
        picture = self.pictures.get(name) or self.pictures.get(files[index])
        if picture is None:
            where = "was started without --data" if self.data is None else "does not find it in --data"
            raise RequestError(
                404,
                f"the picture {index} of {self.name} is not at hand: the server {where}; start it with `--data DATA`, "
                "the pictures that were evaluated",
            )
        return picture

    def content(self, index: int, limit: int) -> bytes:
        """The file of a picture. Raises `RequestError` where it cannot be read."""
        try:
            stream = self.picture(index).opener.open()
            with stream:
                content = stream.read(limit + 1) if hasattr(stream, "read") else b""
        except OSError as error:
            raise RequestError(404, f"the picture {index} of {self.name} cannot be read: {error.strerror}") from error
        if not 0 < len(content) <= limit:
            raise RequestError(413, f"the picture {index} of {self.name} is no file of up to {limit:,} bytes")
        return content

    def as_json(self) -> dict[str, Any]:
        """What is shown of it in a list."""
        keep = ("top1", "n", "note")
        return {"name": self.name, "classes": len(self.scores["classes"]), "pictures": self.data is not None,
                **{key: self.scores[key] for key in keep if key in self.scores}}  # fmt: skip


class Thumbnails:
    """Small JPEGs of pictures, the latest of them kept."""

    def __init__(self) -> None:
        self._cached: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, run: ServedRun, index: int, side: int) -> bytes:
        """Of a run's picture, with a longer side of at most `side` pixels. Raises `RequestError` for one that is
        broken."""
        key = (run.name, index, side)
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        picture = run.picture(index)
        file = io.BytesIO()
        try:
            thumbnail(picture.opener, side).save(file, "JPEG", quality=80)
        except (DataError, RegardError) as error:
            raise RequestError(422, without_advice(error)) from error
        with self._lock:
            self._cached[key] = file.getvalue()
            self._size += len(file.getvalue())
            while self._size > CACHED:
                self._size -= len(self._cached.popitem(last=False)[1])
        return file.getvalue()
