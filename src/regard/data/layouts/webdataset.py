"""DATA as WebDataset tars: pictures grouped with what is said of them by key, the name up to its first dot."""

from regard.data.dataset import Picture
from regard.data.shards.base import Options
from regard.data.shards.tars import is_tars, open_tars

__all__ = ["is_tars", "open_tars", "read_tars"]


def read_tars(source: str, labels: bool = True) -> list[Picture]:
    """All pictures of the shards, in order, each with an opener that reads its range.

    Raises `DataError` for tars that are damaged or cut off, and, with `labels`, naming pictures without one.
    """
    tars = open_tars(source, Options())
    return [picture for shard in tars.shards for picture in tars.pictures(shard)]
