"""Tables: light to import, loud about unknown names, open to rows from outside."""

from dataclasses import dataclass

import pytest

from regard.errors import UsageError
from regard.explanation import METHODS
from regard.registry import Table


@dataclass(frozen=True)
class Plain:
    name: str
    target: str


def _table() -> Table[Plain]:
    return Table("method", (Plain("attention", "os.path:join"), Plain("rollout", "os.path:absent")), "regard.nothing")


def test_rows_by_name_and_in_order() -> None:
    table = _table()
    assert table.names == ("attention", "rollout")
    assert len(table) == 2
    assert "rollout" in table
    assert table["attention"].target == "os.path:join"


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown method 'atention'; did you mean 'attention'\?$"):
        _table()["atention"]  # nothing lists the rows of a table that has no command
    with pytest.raises(UsageError, match=r"unknown method 'atention'; did you mean 'attention'.*\? `regard methods`"):
        METHODS["atention"]


def test_load_imports_the_function_or_says_that_it_is_not_there() -> None:
    import os.path

    assert _table().load("attention") is os.path.join
    with pytest.raises(UsageError, match=r"points to os\.path:absent, which is not there"):
        _table().load("rollout")


def test_register_adds_and_refuses() -> None:
    table = _table()
    table.register(Plain("mine", "os:getcwd"))
    assert table.names[-1] == "mine"
    with pytest.raises(UsageError, match="exists already"):
        table.register(Plain("mine", "os:getcwd"))
    with pytest.raises(UsageError, match="must be 'module:function'"):
        table.register(Plain("other", "os.getcwd"))


def test_rows_come_from_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def load(self) -> Plain:
            return Plain("foreign", "os:getcwd")

    monkeypatch.setattr("regard.registry.entry_points", lambda group: [Point()] if group == "regard.nothing" else [])
    assert _table().names == ("foreign", "attention", "rollout")
