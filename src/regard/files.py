"""How anything reaches the disk: aside first, flushed, then renamed, so that a kill or a full disk loses nothing.

A folder that exists is never touched without `overwrite`; with it, the old one is exchanged for the new only when
the new one is whole. Errors of the operating system become an `OutputError` that says what to do.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regard.errors import DataError, OutputError, RegardError

log = logging.getLogger("regard")

SCHEMA = 1
"""Version of the result and run folders; a reader refuses a higher one."""
SCHEMAS = {"explanation": 2}
"""Versions of the kinds whose content has grown since. Explanations of version 2 say what their maps sum to."""

MARKERS = ("manifest.json", "model.json")
"""The file that every result folder, or run folder, is finished with; no other folder is ever replaced."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "no permission to write there; choose another place",
    errno.EPERM: "no permission to write there; choose another place",
    errno.EEXIST: "a file is in the way; choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
}


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn an `OSError` inside the block into an `OutputError` that names `path` and says what to do.

    An `OSError` about *reading* (a missing file, say) is none of this block's business and passes through.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise _output_error(path, error) from error


def _output_error(path: Path | str, error: OSError) -> OutputError:
    reason = _REASONS.get(error.errno or 0, f"{error.strerror}; choose another place")
    return OutputError(f"cannot write {path}: {reason}")


def write_file(path: Path | str, content: str | bytes | Iterable[str]) -> Path:
    """Write a whole file or nothing: aside, flushed to the disk, then renamed over what was there.

    Text, in one or in parts, becomes UTF-8; bytes of a file name that are none come out as they were.

    >>> write_file("notes/first.txt", ["one\\n", "two\\n"]).read_text()
    'one\\ntwo\\n'
    """
    path = Path(path)
    parts = [content] if isinstance(content, str | bytes) else content
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for part in parts:
                    file.write(part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).chmod(0o666 & ~_umask())
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    return path


def write_json(path: Path | str, content: Any) -> Path:
    """Write JSON with two-space indents and a final newline; NaN and infinity, which JSON lacks, are refused.

    >>> print(write_json("scores.json", {"top1": 0.944}).read_text(), end="")
    {
      "top1": 0.944
    }
    """
    return write_file(path, json_text(content, indent=2) + "\n")


def json_text(content: Any, indent: int | None = None) -> str:
    """JSON with letters as they are; a byte of a file's name that is no character is written as JSON's `\\udce9`.

    So every file is UTF-8, and Python reads the very name back.

    >>> json_text({"name": os.fsdecode(b"caf\\xe9 \\xc3\\xa9.jpg")})
    '{"name": "caf\\\\udce9 é.jpg"}'
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def readable(text: str) -> str:
    """Text that any reader takes: bytes of a file's name that are no characters are written as `\\xe9`.

    >>> readable(os.fsdecode(b"caf\\xe9.jpg"))
    'caf\\\\xe9.jpg'
    """

    def written(match: re.Match[str]) -> str:
        byte = ord(match[0]) - 0xDC00
        return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else "\N{REPLACEMENT CHARACTER}"

    return _LONE_SURROGATE.sub(written, text)


_umask_lock = threading.Lock()
_claims: dict[Path, int] = {}
"""What this process is writing: the thread that does, by the place."""


@contextmanager
def claimed(out: Path | str) -> Iterator[None]:
    """While the block runs, no other process (or thread) can claim the same place; that is an `OutputError` there.

    The lock on `.NAME.lock` beside it is the operating system's, so that a process that died holds nothing. Where no
    lock can be had (a folder that cannot be written, a file system without locks) the block runs without one.
    """
    out = Path(out)
    key = Path(os.path.realpath(out))
    if _claims.get(key) == threading.get_ident():  # the same work, one level deeper
        yield
        return
    if key in _claims:
        raise _busy(out)
    _claims[key] = threading.get_ident()
    try:
        with _locked(key.with_name(f".{key.name}.lock"), out):
            yield
    finally:
        del _claims[key]


@contextmanager
def _locked(path: Path, out: Path) -> Iterator[None]:
    descriptor = _lock(path, out)
    try:
        yield
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _lock(path: Path, out: Path) -> int | None:
    """The open, locked file; None where there are no locks."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return None
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        try:
            # A lock of the process, not of the file's handle: processes that it starts do not hold it after its end.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except (BlockingIOError, PermissionError) as error:
            os.close(descriptor)
            raise _busy(out) from error
        except FileNotFoundError:
            pass  # who held it has just removed it
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)


def _busy(out: Path) -> OutputError:
    return OutputError(f"{out} is being written by another regard; wait until it is done, or choose another --out")


@contextmanager
def new_folder(folder: Path | str, overwrite: bool = False) -> Iterator[Path]:
    """A folder that appears whole or not at all: yields a folder beside it to fill, renamed at the end.

    Raises `OutputError` before any work when `folder` exists and is not empty, unless `overwrite`; then the old
    one stays until the block has succeeded. An exception (Ctrl-C too) leaves what was there untouched.

    >>> with new_folder("result") as folder:
    ...     _ = write_json(folder / "manifest.json", {"schema": SCHEMA})
    >>> Path("result/manifest.json").is_file()
    True
    >>> with new_folder("result"):
    ...     pass
    Traceback (most recent call last):
    regard.errors.OutputError: result exists already; choose another --out, or --overwrite to replace it
    """
    folder = Path(folder)
    with claimed(folder), writing(folder):
        check_free(folder, overwrite)
        aside = folder_beside(folder)
        try:
            aside.chmod(0o777 & ~_umask())
            yield aside
            exchange(aside, folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def folder_beside(path: Path) -> Path:
    """An empty hidden folder in the same place, from where a rename is one step. Those that killed processes left
    there are removed: the place is claimed, so that nobody works in them."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for entry in path.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(path.name)}\.\w{{8}}\.part", entry.name):
                log.info(f"removing {entry}, which a process that was killed left there")
                shutil.rmtree(entry, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:  # whatever it is, it is about writing
        raise _output_error(path, error) from error


def check_free(path: Path | str, overwrite: bool = False) -> None:
    """Raise `OutputError` when `path` is occupied (a file, or a folder with something in it) and not `overwrite`.

    Even with `overwrite` a folder is only replaced when regard wrote it: it then holds one of `MARKERS`.
    """
    path = Path(path)
    occupied = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if occupied and not overwrite:
        raise OutputError(f"{path} exists already; choose another --out, or --overwrite to replace it")
    if occupied and path.is_dir() and not any((path / marker).is_file() for marker in MARKERS):
        raise OutputError(
            f"{path} was not written by regard (it holds neither {' nor '.join(MARKERS)}), so --overwrite leaves it "
            "alone; choose another --out, or remove it yourself"
        )


def check_schema(stored: Mapping[str, Any], path: Path) -> None:
    """Refuse a folder written by a newer regard, whose meaning this one cannot know."""
    newest = SCHEMAS.get(str(stored.get("kind")), SCHEMA)
    if stored.get("schema", 0) > newest:
        raise DataError(
            f"{path} has schema version {stored['schema']}, newer than the {newest} that this regard reads; "
            "upgrade regard"
        )


@contextmanager
def reading(path: Path | str, advice: str, error: type[RegardError] = DataError) -> Iterator[None]:
    """Turn whatever goes wrong while a file of regard's own is read and taken apart into one `error`.

    A damaged file makes libraries raise what they like, so that all of it is caught; `advice` says what to do.
    """
    try:
        yield
    except RegardError:
        raise
    except Exception as problem:
        reason = (str(problem).strip() or "it ends too early").splitlines()[0][:160]
        raise error(f"{path} is damaged ({type(problem).__name__}: {reason}); {advice}") from problem


def read_json(
    path: Path, advice: str, error: type[RegardError] = DataError, fields: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """A JSON file of regard's own: an object, with its `fields` of their types, of a schema that this regard reads.

    >>> read_json(write_json("recipe.json", {"arguments": []}), "train again", fields={"arguments": dict})
    Traceback (most recent call last):
    regard.errors.DataError: recipe.json is damaged: its 'arguments' is list, where dict must be; train again
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError, RecursionError) as problem:
        raise error(f"{path} is damaged: it is not JSON ({problem}); {advice}") from problem
    schema = stored.get("schema", 0) if isinstance(stored, dict) else None
    if not isinstance(stored, dict) or not isinstance(schema, int):
        raise error(f"{path} is damaged: it has no schema version; {advice}")
    try:
        check_schema(stored, path)
    except DataError as newer:
        raise error(str(newer)) from newer
    check_fields(stored, path, advice, error, fields or {})
    return stored


def check_fields(
    stored: Mapping[str, Any], path: Path, advice: str, error: type[RegardError], fields: Mapping[str, type]
) -> None:
    """Raise `error` where a field is missing, or of another type."""
    for name, kind in fields.items():
        if not isinstance(stored.get(name), kind):
            came = type(stored[name]).__name__ if name in stored else "not there"
            raise error(f"{path} is damaged: its {name!r} is {came}, where {kind.__name__} must be; {advice}")


def is_file(path: Path | str) -> bool:
    """Whether there is such a file; a name that no file system takes is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path | str) -> bool:
    """Whether there is a file or a folder; a name that no file system takes is none."""
    return is_file(path) or is_folder(path)


def is_folder(path: Path | str) -> bool:
    """Whether there is such a folder; a name that no file system takes is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def check_local(source: Path | str, error: type[RegardError] = DataError) -> None:
    """Raise `error` for an address (`https://...`), also one that lost a slash by becoming a path.

    >>> check_local(Path("https://example.org/cat.jpg"))
    Traceback (most recent call last):
    regard.errors.DataError: https://example.org/cat.jpg is an address; download it, and give the file or folder
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.+)", str(source))
    if match is not None:
        raise error(f"{match[1]}://{match[2]} is an address; download it, and give the file or folder")


def cache_folder() -> Path:
    """The folder of what can be had again: `regard` in the user's cache folder (`XDG_CACHE_HOME`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regard"


def file_hash(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits.

    >>> file_hash(write_file("empty.txt", ""))[:16]
    'e3b0c44298fc1c14'
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def exchange(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`, removing the old one only after the new one stands."""
    if not folder.exists():
        new.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(old / folder.name)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def put_file(new: Path, out: Path) -> None:
    """Put the file `new` in the place of `out`, be there a file, a folder or nothing."""
    if out.is_dir():
        exchange(new, out)
    else:
        new.replace(out)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    with _umask_lock:  # of two threads at once, the second would read what the first has set, and leave that
        mask = os.umask(0o022)
        os.umask(mask)
    return mask
