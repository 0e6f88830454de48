"""Every example in a public docstring runs as it stands, in an empty folder; every record has one."""

import doctest
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import regard
from regard import records

PACKAGES = ("errors", "files", "registry", "records", "predictors", "app.commands")
"""Whose public classes and functions show how they are used."""


def _tests() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for info in pkgutil.walk_packages(regard.__path__, "regard."):
        if info.name.startswith(tuple(f"regard.{package}" for package in PACKAGES)):
            yield from (test for test in finder.find(import_module(info.name)) if test.examples)


TESTS = list(_tests())


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.name.removeprefix("regard."))
def test_an_example_runs_as_it_stands(test: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.DebugRunner(optionflags=doctest.ELLIPSIS).run(test, clear_globs=False)
    assert not failed


@pytest.mark.parametrize("name", [name for name in records.__all__ if inspect.isclass(getattr(records, name))])
def test_every_record_shows_how_it_is_used(name: str) -> None:
    assert ">>> " in str(getattr(records, name).__doc__)
