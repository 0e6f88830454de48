"""Bulk work on a real object store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from azurite import assert_conditional_writes, azurite


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which `az://pictures/` is a store on this machine."""
    with azurite(Path(tmp_path_factory.mktemp("azurite"))) as environment:
        yield environment


def test_the_store_refuses_to_create_what_is_there(store: dict[str, str]) -> None:
    assert_conditional_writes(store)
