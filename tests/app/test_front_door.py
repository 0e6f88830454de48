"""What one types first: the version, help, nothing at all."""

from collections.abc import Callable

import pytest

import regard

Run = Callable[..., tuple[int, str, str]]


def test_the_version(run: Run) -> None:
    assert run("--version") == (0, f"{regard.__version__}\n", "")
    assert run("--version", "train") == (0, f"{regard.__version__}\n", "")


@pytest.mark.parametrize(("words", "exit_code"), [(("-h",), 0), (("--help",), 0), ((), 2), (("--debug",), 2)])
def test_help(words: tuple[str, ...], exit_code: int, run: Run) -> None:
    """Nothing at all is answered by the help, and by no line more."""
    code, out, err = run(*words)
    assert (code, err) == (exit_code, "")
    assert "Usage: regard" in out and "explain" in out and "Add --debug" in out


def test_help_of_a_command(run: Run) -> None:
    assert run("explain", "-h") == run("explain", "--help")
    code, out, err = run("explain", "-h")
    assert (code, err) == (0, "") and "--method" in out


def test_an_option_that_is_none(run: Run) -> None:
    code, out, err = run("--verison")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and "--verison" in err


def test_the_package_shows_what_is_public() -> None:
    assert dir(regard) == sorted(regard.__all__)
    assert {"train", "explain", "METHODS", "RegardError"} <= {*dir(regard)}
    assert all(hasattr(regard, name) for name in dir(regard))


def test_records_print_as_people_read_them() -> None:
    from regard.networks.load import load
    from regard.records import Score

    assert repr({"top1": Score(0.9666, 0.8333, 0.9941, 60)}) == "{'top1': 0.967 [0.833, 0.994]}"
    assert repr(load("pets-tiny", device="cpu")).endswith(": 37 classes, float32 on cpu")
