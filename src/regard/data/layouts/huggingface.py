"""DATA as Hugging Face's `datasets` keeps it: `hf:OWNER/DATASET[:CONFIG]`, or a folder by `save_to_disk`."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.data.dataset import Picture, listed, split_name
from regard.data.shards.base import Options
from regard.errors import DataError

if TYPE_CHECKING:
    from regard.data.shards.rows import TableSource

log = logging.getLogger("regard")

PREFIX = "hf:"
_STATE = "state.json"
_SPLITS = "dataset_dict.json"


def is_saved(source: str) -> bool:
    """Whether DATA is a folder that `save_to_disk` wrote: a data set, or one for each split."""
    return (Path(source) / _SPLITS).is_file() or (
        (Path(source) / _STATE).is_file() and (Path(source) / "dataset_info.json").is_file()
    )


def is_on_hub(source: str) -> bool:
    return source.startswith(PREFIX) and not Path(source).exists()


def read_saved(source: str, labels: bool = True) -> list[Picture]:
    """All pictures of a data set that was saved, in order."""
    return _pictures(open_saved(source, Options()), labels)


def read_hub(source: str, labels: bool = True) -> list[Picture]:
    """All pictures of a data set of the hub, which is fetched once."""
    return _pictures(open_hub(source, Options()), labels)


def open_saved(source: str, options: Options) -> "TableSource":
    """Its tables, by splits. Raises `DataError` where something is missing or damaged."""
    folder = Path(source)
    if not (folder / _SPLITS).is_file():
        return _tables(source, options, [(None, file) for file in _files(folder)])
    splits = _json(folder / _SPLITS).get("splits") or []
    return _tables(source, options, [(str(name), file) for name in splits for file in _files(folder / str(name))])


def open_hub(source: str, options: Options) -> "TableSource":
    """The tables of `hf:OWNER/DATASET[:CONFIG]` in the cache of `datasets`, fetched where they are not there yet.

    Raises `DataError` where the extra is missing, there is no such data set or no network, or it is private.
    """
    name, _, config = source.removeprefix(PREFIX).partition(":")
    try:
        import datasets
    except ImportError:
        raise DataError(f"{source}: data sets of the hub need an extra: pip install 'regard[datasets]'") from None
    try:
        loaded: Any = datasets.load_dataset(name, config or None)
    except Exception as error:  # of the network, the hub, or the data set: each has its own kinds
        raise DataError(f"{source}: {_why(error)}") from error
    parts: list[tuple[str | None, Path]] = [
        (str(split), Path(file["filename"])) for split, each in loaded.items() for file in each.cache_files
    ]
    if not parts:
        raise DataError(f"{source} has no rows; choose another configuration")
    return _tables(source, options, parts)


def _pictures(tables: "TableSource", labels: bool) -> list[Picture]:
    if labels:
        tables.check_labels()
    return [picture for shard in tables.shards for picture in tables.pictures(shard)]


def _tables(source: str, options: Options, parts: list[tuple[str | None, Path]]) -> "TableSource":
    from regard.data.shards.rows import TableSource  # pyarrow is imported where there are tables
    from regard.data.shards.tables import shard_of

    if not parts:
        raise DataError(f"{source} has no tables; save the data set again")
    shards = tuple(shard_of(str(file)) for _, file in parts)
    prefixes = tuple(f"{split or 'data'}/{file.stem}-" for split, file in parts)
    splits = tuple(None if split is None else split_name(split) for split, _ in parts)
    return TableSource(source, shards, options, splits, prefixes)


def _files(folder: Path) -> list[Path]:
    entries = _json(folder / _STATE).get("_data_files")
    try:
        files = [folder / str(entry["filename"]) for entry in entries or []]
    except (TypeError, KeyError):
        raise DataError(f"{folder / _STATE} names no files; save the data set again") from None
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DataError(f"in {folder} tables of the data set are missing ({listed(missing)}); copy it again")
    return files


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}); save the data set again") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} is not what `save_to_disk` writes; save the data set again")
    return content


def _why(error: Exception) -> str:
    """The error of `datasets` in one line with advice."""
    kind = type(error).__name__
    text = str(error).partition("\n")[0][:160]
    if kind in ("ConnectionError", "OfflineModeIsEnabled", "ConnectTimeout", "ReadTimeout", "LocalEntryNotFoundError"):
        return (
            "the hub cannot be reached; fetch the data set where there is a network, and give what `save_to_disk` wrote"
        )
    if kind in ("DatasetNotFoundError", "RepositoryNotFoundError"):
        return "there is no such data set on the hub, or it is private; check the name, or log in with `hf auth login`"
    return f"it cannot be loaded ({text or kind}); check name and configuration"
