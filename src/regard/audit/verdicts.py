"""Where verdicts are found again: beside a run, or in an audit's folder, for the network and settings they hold for."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.data.dataset import Picture
from regard.errors import DataError
from regard.files import SCHEMA, is_file, read_json, reading, write_json
from regard.networks.run import run_of
from regard.records import Audit, Explanation, Verdict
from regard.records.audits.verdicts import is_control

VERDICTS = "verdicts.json"
AGAIN = "audit again: `regard audit DATA --model RUN`"


def model_digest(provenance: Mapping[str, Any]) -> str:
    """Of a network with its preparation, from its provenance: what a map is of."""
    about = [provenance["weights_sha256"], provenance["preparation"]]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def data_digest(hashes: Iterable[str]) -> str:
    """Of pictures, by their hashes, in any order."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


@dataclass(frozen=True)
class StoredVerdict:
    """A verdict that holds for a map's method, and the pictures it was measured on: their folder's name, and their
    SHA-256 (of each the first 16 digits)."""

    verdict: Verdict
    data: str
    pictures: frozenset[str]

    def text(self, hashes: Iterable[str]) -> str:
        """The verdict in a line, for pictures with these hashes; of others it says on which it was measured."""
        others = any(each[:16] not in self.pictures for each in hashes)
        measured = f", {self.measured}" if others else ""
        return f"{self.verdict.status}{measured}: {self.verdict.why}"

    @property
    def measured(self) -> str:
        """On what."""
        return f"measured on {self.verdict.n} pictures of {self.data}"


def store(audit: Audit, hashes: Iterable[str], folder: Path, merge: bool = False) -> None:
    """Write the verdicts of an audit into a folder; with `merge` beside those of other methods and pictures."""
    data = str(audit.provenance["data"])
    stored: dict[str, Any] = {"verdicts": [], "data": {}}
    path = folder / VERDICTS
    if merge and is_file(path):
        stored = read_json(path, AGAIN, fields={"verdicts": list, "data": dict})
    new = [each.as_json() for each in audit.verdicts if not is_control(each.method)]
    keys = [(each["method"], each["settings"], each["data"], each["model"]) for each in new]
    others = [each for each in stored["verdicts"]
            if (each["method"], each["settings"], each["data"], each["model"]) not in keys]  # fmt: skip
    about = {"name": audit.provenance["data_name"], "n": audit.n, "pictures": sorted(each[:16] for each in hashes)}
    content = {"verdicts": [*others, *new], "data": {**stored["data"], data: about}}
    write_json(path, {"schema": SCHEMA, "kind": "verdicts", **content})


def verdict_on(about: Explanation, folder: Path | str | None, model: Any, pictures: Sequence[Picture]) -> str:
    """The verdict on an explanation's method in a line, from an audit's folder or else from the run of the `model`; ""
    where there is none. Raises `DataError` for a folder that holds no verdicts."""
    place = run_of(model) if folder is None else Path(folder)
    if folder is not None and not is_file(Path(folder) / VERDICTS):
        raise DataError(f"{folder} holds no {VERDICTS}; give a folder that `regard audit` wrote")
    stored = None if place is None else find(place, about.method, about.settings, about.provenance)
    return "" if stored is None else stored.text(each.opener.digest() for each in pictures)


def verdict_finder(folder: Path | str | None, model: Any) -> Callable[[Explanation, Picture], dict[str, str] | None]:
    """What finds the verdict on an explanation's method for an inspection, as {"status", "text"}, or None; from where
    `verdict_on` has it."""
    place = run_of(model) if folder is None else Path(folder)

    def verdict(about: Explanation, picture: Picture) -> dict[str, str] | None:
        stored = None if place is None else find(place, about.method, about.settings, about.provenance)
        return (
            None
            if stored is None
            else {"status": stored.verdict.status, "text": f"{stored.measured}: {stored.verdict.why}"}
        )

    return verdict


def find(folder: Path, method: str, settings: Mapping[str, Any], provenance: Mapping[str, Any]) -> StoredVerdict | None:
    """The latest verdict in a folder that holds for maps of this method, of these settings and this network."""
    path = folder / VERDICTS
    if not is_file(path):
        return None
    stored = read_json(path, AGAIN, fields={"verdicts": list, "data": dict})
    about = {**settings, "precision": provenance.get("precision", "float32")}
    about = json.loads(json.dumps(about))
    with reading(path, AGAIN):
        for each in reversed(list(map(Verdict.from_json, stored["verdicts"]))):
            if each.holds_for(method, about, model_digest(provenance)):
                data = stored["data"][each.data]
                return StoredVerdict(each, data["name"], frozenset(data["pictures"]))
    return None
