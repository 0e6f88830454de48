"""DATA as WebDataset tars: pictures grouped with what is said of them by key, the name up to its first dot."""

from regard.data.dataset import Picture
from regard.data.shards.base import Options
from regard.data.shards.opener import BrokenOpener
from regard.data.shards.tars import is_tars, open_tars
from regard.data.stores import split_address

__all__ = ["is_tars", "open_tars", "read_tars"]


def read_tars(source: str, labels: bool = True) -> list[Picture]:
    """All pictures of the shards, in order, each with an opener that reads its range.

    A tar that is cut off has a last picture that cannot be read, so that --skip-bad names it and goes on; with `labels`
    it is refused. Raises `DataError` for what is no tar.
    """
    tars = open_tars(source, Options())
    pictures: list[Picture] = []
    for shard in tars.shards:
        pictures.extend(tars.pictures(shard) if labels else tars.whole_pictures(shard))
        if problem := tars.problem(shard):
            pictures.append(Picture(f"rest of {split_address(shard.address)[1]}", BrokenOpener(problem)))
    return pictures
