"""DATA as Parquet with the bytes of pictures: a file, a pattern, or a folder of them, on a disk or in a store."""

from pathlib import Path, PurePosixPath

from regard.data.dataset import Picture, split_name
from regard.data.images.formats import SUFFIXES
from regard.data.layouts.folder import split_in
from regard.data.shards.base import Options, Shard, Source, in_threads
from regard.data.shards.patterns import expand, has_pattern
from regard.data.stores import Store, is_address
from regard.errors import DataError

ENDING = ".parquet"
REQUESTS = 16
"""Requests to a store that are under way at once."""


def is_parquet(source: str) -> bool:
    """Whether DATA is a Parquet file, a pattern of some, a folder in which they lie beside no pictures, or such in a
    store."""
    if source.lower().endswith(ENDING):
        return is_address(source) or has_pattern(source) or Path(source).is_file()
    if is_address(source):
        if has_pattern(source) or source.startswith("http"):
            return False
        first = next(Store.of(source).entries(), None)
        return first is not None and first.key.lower().endswith(ENDING)
    return Path(source).is_dir() and bool(_below(Path(source)))


def read_parquet(source: str, labels: bool = True) -> list[Picture]:
    """All pictures of the tables, in order, each with an opener that reads its row group.

    Raises `DataError` for tables that cannot be read, and, with `labels`, where several columns may be the label.
    """
    tables = open_parquet(source, Options())
    if labels and hasattr(tables, "check_labels"):
        tables.check_labels()
    return [picture for shard in tables.shards for picture in tables.pictures(shard)]


def open_parquet(source: str, options: Options) -> Source:
    """The tables of DATA; where no column has bytes, they are lists of keys. Raises `DataError` where there is none.

    The split of a file is the one that stands as a word in its name or in its folder's, where each has one.
    """
    from regard.data.shards.columns import image_column, is_text  # pyarrow is imported where there are tables
    from regard.data.shards.keys import open_keys
    from regard.data.shards.rows import TableSource
    from regard.data.shards.tables import open_table

    shards = _listed(source)
    if not shards:
        raise DataError(f"{source} holds no Parquet files; give one, or a folder of them")
    schema = open_table(shards[0]).schema
    column = image_column(schema, options.image, shards[0].address)
    if column is None and (options.image is None or is_text(schema.field(options.image).type)):
        return open_keys(source, shards, options)
    base = source if len(shards) > 1 or not source.lower().endswith(ENDING) else str(PurePosixPath(source).parent)
    below = f"{base.rstrip('/')}/"  # what tells tables apart: their paths below DATA; of a pattern their names
    names = [
        shard.address.removeprefix(below) if shard.address.startswith(below) else PurePosixPath(shard.address).name
        for shard in shards
    ]
    splits = []
    for path in map(PurePosixPath, names):
        words = (path.stem.split("-")[0], *path.parts[:-1])
        splits.append(next((split_name(split) for word in words if (split := split_in(word)) is not None), None))
    prefixes = tuple(f"{name[: -len(ENDING)]}/" for name in names)
    return TableSource(source, shards, options, tuple(splits) if all(splits) else (None,) * len(splits), prefixes)


def _listed(source: str) -> tuple[Shard, ...]:
    from regard.data.shards.tables import shard_of

    if source.lower().endswith(ENDING):
        return tuple(in_threads(shard_of, expand(source), REQUESTS if is_address(source) else 0))
    if not is_address(source):
        return tuple(shard_of(str(path)) for path in _below(Path(source)))
    store = Store.of(source)
    entries = [entry for entry in store.entries() if entry.key.lower().endswith(ENDING)]
    return tuple(Shard(store.full(entry.key), entry.size, entry.tag) for entry in entries)


def _below(folder: Path) -> list[Path]:
    """The Parquet files in a folder and in those right below; none where pictures lie there."""
    files = [each for each in folder.iterdir() if not each.name.startswith(".")]
    if any(each.suffix.lower() in SUFFIXES or each.name == "index.csv" for each in files):
        return []
    inner = [each for below in files if below.is_dir() for each in below.iterdir() if not each.name.startswith(".")]
    if any(each.suffix.lower() in SUFFIXES or each.is_dir() for each in inner):
        return []
    return sorted(each for each in (*files, *inner) if each.name.lower().endswith(ENDING) and each.is_file())
