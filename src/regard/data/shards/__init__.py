"""DATA as shards: what bulk work reads one unit at a time, and training in an order that keeps reading in sequence.

`open_source` gives the shards of any DATA, local or in a store, without a list of its pictures; an index of members
(key, offset, size), built from headers alone and kept in the user's cache folder, gives ranged reads.
"""

from pathlib import Path

from regard.data.layouts import LAYOUTS, fitting, read_labelled, read_pictures
from regard.data.shards.base import UNIT, Member, Members, Options, Shard, Source
from regard.data.shards.lists import PictureList

__all__ = ["UNIT", "Member", "Members", "Options", "Shard", "Source", "open_source"]


def open_source(
    data: Path | str,
    *,
    image: str | None = None,
    label: str | None = None,
    unit: int = UNIT,
    skip_bad: bool = False,
) -> Source:
    """DATA → its shards: tars, tables and data sets as they lie; of folders and lists, `unit` keys make one.

    `image` and `label` name the member or column that is the picture, or its label. With `skip_bad` what is damaged is
    named and left out. Raises `DataError` where there is nothing, or it cannot be read.
    """
    row = fitting(str(data), [row for row in LAYOUTS if row.source])
    if row is not None:
        source: Source = LAYOUTS.load(row.name, "source")(str(data), Options(image, label, unit, skip_bad))
        return source
    dataset = read_pictures(data) if label is None else read_labelled(data, label)
    return PictureList(str(data), dataset.pictures, unit)
