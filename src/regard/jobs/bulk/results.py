"""The result of a job, wherever it lies."""

from pathlib import Path

from regard.data.stores import Store
from regard.results.bulk import BulkResult


def open_result(place: Path | str) -> BulkResult:
    """The result of a job in a folder or a store. Raises `DataError` for what is none, or has not come to its end."""
    store = Store.of(place)
    return BulkResult.open(store.address, store.read)
