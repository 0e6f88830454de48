"""Every command on small fixed inputs: what comes out, stored, and two such stores compared.

    python bench/same.py record BEFORE [--src PATH] [--slow]      PATH: the `src` folder of the version to run
    python bench/same.py compare BEFORE AFTER [--close]

`record` runs some 380 command lines, one thread each, in the folder OUT/work and keeps of each its exit code, stdout,
messages and every file that it made, changed or removed: OUT/cases.jsonl has the SHA-256 of each, OUT/files the bytes.
Nothing of regard's inside is touched: only command lines, through the entry point of the program, and the public
functions of `regard` for what is given from Python alone. The cases are in same_cases.py; networks are drawn there and
in tests/support/captioners.py, which must be the same for both stores.

`compare` prints a line for each case and exits 1 on any difference. Without options all must be the same bytes. With
`--close`, for merges that may round otherwise: arrays (of npy, npz, safetensors and Parquet) within 1e-6 of their
largest value, pictures but for single levels, texts equal but for the last digits of their numbers and for hashes,
pages by the numbers that can be read in them. `--help` is compared by the options that it names, `timing.jsonl` by its
phases. Bytes hold on one machine, with one lock file and one count of threads only.
"""

import argparse
import contextlib
import hashlib
import html
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from same_cases import CASES, Case

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "MPLBACKEND": "Agg",
    "COLUMNS": "160",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PYTHONWARNINGS": "ignore",
}
NEAR = 1e-6
"""How far apart numbers may be with --close, relative to the largest of an array, or to the number in a text."""
LEVELS, SHARE = 4, 1e-3
"""Pictures may differ with --close by so many levels of 255, in such a share of their values."""


# Recording.


def record(out: Path, src: Path, slow: bool) -> int:
    """Run every group in a process of its own."""
    if not (src / "regard").is_dir():
        sys.exit(f"{src} holds no package regard; give the src folder of a checkout")
    if out.exists() and any(out.iterdir()) and not (out / "cases.jsonl").is_file():
        sys.exit(f"{out} is no store of this script; choose another")
    shutil.rmtree(out, ignore_errors=True)
    for folder in ("work", "files"):
        (out / folder).mkdir(parents=True)
    (out / "cases.jsonl").touch()
    start, failed = time.perf_counter(), 0
    for group in CASES:
        command = [sys.executable, __file__, "run", str(out), group, *(["--slow"] if slow else [])]
        places = {"PYTHONPATH": str(src), "REGARD_CACHE": str(out / "cache"), "HF_HOME": str(out / "cache")}
        failed |= subprocess.run(command, cwd=out / "work", env={**os.environ, **ENVIRONMENT, **places}).returncode
    shutil.rmtree(out / "work")
    shutil.rmtree(out / "cache", ignore_errors=True)
    print(f"{len(read(out))} cases in {time.perf_counter() - start:.0f} s")
    return failed


def run(out: Path, group: str, slow: bool) -> None:
    """The cases of a group, in this process, each with the files that it made."""
    warnings.simplefilter("ignore")
    before = snapshot()
    with (out / "cases.jsonl").open("a", encoding="utf-8") as lines:
        for case in CASES[group](slow):
            found = run_one(case)
            after = snapshot()
            files = {name: keep(out, name) for name in after if before.get(name) != after[name]}
            if case.stop_at is None:  # else its files are those of the case that goes on with it
                found |= {"files": files, "removed": sorted(set(before) - set(after))}
                before = after
            lines.write(json.dumps(hidden(found, out), ensure_ascii=False) + "\n")
            lines.flush()


def run_one(case: Case) -> dict[str, Any]:
    if case.prepare is not None:
        case.prepare()
    from regard.app.cli import main

    stdout, stderr = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    watch = threading.Thread(target=press_ctrl_c, args=(case.stop_at,), daemon=True) if case.stop_at else None
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            if watch is not None:
                watch.start()
            code: Any = case.call() if case.call is not None else main(list(case.words))
        except SystemExit as error:
            code = error.code
        except BaseException as error:
            code = "".join(traceback.format_exception_only(error)).strip()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    found: dict[str, Any] = {"name": case.name, "words": case.words, "exit": code}
    found["seconds"] = round(time.perf_counter() - start, 2)
    if case.stop_at is None:
        found |= {"out": stdout.getvalue(), "err": stderr.getvalue() if case.messages else ""}
    return found


def press_ctrl_c(file: str) -> None:
    """As a user would, once the work has begun."""
    while not (Path(file).is_file() and Path(file).stat().st_size):
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGINT)


def snapshot() -> dict[str, tuple[int, int, int]]:
    """Every file there is, with what tells that it is another than before."""
    paths = [path for path in Path().rglob("*") if path.is_file()]
    return {path.as_posix(): (s.st_ino, s.st_size, s.st_mtime_ns) for path in sorted(paths) for s in [path.stat()]}


def keep(out: Path, name: str) -> str:
    """Store a file under the hash of its bytes."""
    content = Path(name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if not (out / "files" / digest).exists():
        (out / "files" / digest).write_bytes(content)
    return digest


def hidden(found: dict[str, Any], out: Path) -> dict[str, Any]:
    """Without the places of this machine, in which two stores must differ."""
    places = {str(out.resolve() / "work"): "WORK", str(out.resolve()): "OUT", os.environ["PYTHONPATH"]: "SRC"}

    def without(text: Any) -> Any:
        for place, name in places.items():
            text = text.replace(place, name) if isinstance(text, str) else text
        return text

    return {name: without(value) for name, value in found.items()}


# Comparing.


def read(home: Path) -> dict[str, dict[str, Any]]:
    with (home / "cases.jsonl").open(encoding="utf-8") as lines:
        return {case["name"]: case for case in map(json.loads, lines)}


def compare(before: Path, after: Path, close: bool) -> int:
    """Print a line for each case; 1 on any difference."""
    old, new = read(before), read(after)
    different = 0
    for name in dict.fromkeys((*old, *new)):
        if name not in old or name not in new:
            found = [f"only in the {'second' if name not in old else 'first'}"]
        else:
            found = list(differences(old[name], new[name], before, after, close))
        different += bool(found)
        print(f"differs  {name}: {'; '.join(found)}" if found else f"equal    {name}")
    print(f"{len(old | new) - different} equal, {different} differ")
    return int(bool(different))


def differences(old: dict[str, Any], new: dict[str, Any], before: Path, after: Path, close: bool) -> Iterator[str]:
    if old["exit"] != new["exit"]:
        yield f"exit {old['exit']} → {new['exit']}"
    streams = {"out": "stdout", "err": "messages"}
    if not old["words"]:  # from Python the logger is shown or not as commands before in the same process left it
        del streams["err"]
    for stream, name in streams.items():
        what = texts_apart(old.get(stream, ""), new.get(stream, ""), close)
        if "--help" in old["words"] or old["name"] == "no command":  # the same page
            what = options_apart(old.get(stream, ""), new.get(stream, ""))
        if what:
            yield f"{name}: {what}"
    if old.get("removed") != new.get("removed"):
        yield f"removed {old.get('removed')} → {new.get('removed')}"
    first, second = old.get("files", {}), new.get("files", {})
    for name in dict.fromkeys((*first, *second)):
        if name not in first or name not in second:
            yield f"{name} only in the {'second' if name not in first else 'first'}"
        elif first[name] != second[name]:
            what = files_apart(
                name, *(home / "files" / sums[name] for home, sums in ((before, first), (after, second)))
            )
            exempt = Path(name).name in CLOSE_ALWAYS
            if not (close or exempt):
                yield f"{name}: {what or 'other bytes, but close'}"
            elif what:
                yield f"{name}: {what}"


def options_apart(old: str, new: str) -> str | None:
    names = [set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)) for text in (old, new)]
    return None if names[0] == names[1] else f"options {sorted(names[0] ^ names[1])} in one alone"


CLOSE_ALWAYS = ("timing.jsonl",)
"""Seconds are never the same: of these the phases count."""
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w)")
HASH = re.compile(r"\b[0-9a-f]{64}\b")


def texts_apart(old: str, new: str, close: bool) -> str | None:
    """What is different in two texts; with `close`, numbers may be near and hashes other."""
    if old == new:
        return None
    if close:
        old, new = HASH.sub("HASH", old), HASH.sub("HASH", new)
        if NUMBER.sub("#", old) == NUMBER.sub("#", new):
            return numbers_apart(old, new)
    pairs = enumerate(zip(old.splitlines(), new.splitlines(), strict=False), 1)
    number, first, second = next(((place, a, b) for place, (a, b) in pairs if a != b), (0, "", ""))
    if not number:
        return f"{len(old.splitlines())} → {len(new.splitlines())} lines"
    start = next((place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    cut = slice(max(0, start - 30), start + 50)
    return f"line {number}: {first[cut]!r} → {second[cut]!r}"


def numbers_apart(old: str, new: str) -> str | None:
    first, second = NUMBER.findall(old), NUMBER.findall(new)
    if len(first) != len(second):
        return f"{len(first)} → {len(second)} numbers"
    far = [(a, b) for a, b in zip(first, second, strict=True) if abs(float(a) - float(b)) > NEAR * abs(float(a)) + 1e-9]
    return f"{len(far)} of {len(first)} numbers, {far[0][0]} → {far[0][1]}" if far else None


def files_apart(name: str, old: Path, new: Path) -> str | None:
    """What is different in two files of a name, if they are not close."""
    if Path(name).name == "timing.jsonl":
        phases = [[json.loads(row).get("phase") for row in file.read_text().splitlines()] for file in (old, new)]
        return None if phases[0] == phases[1] else f"phases {phases[0]} → {phases[1]}"
    kind = KINDS.get(Path(name).suffix, bytes_apart)
    try:
        return kind(old, new)
    except Exception as error:  # a half-written file, say: then its bytes count
        return f"other bytes, and not to be read ({type(error).__name__})"


def bytes_apart(old: Path, new: Path) -> str | None:
    return "other bytes"


def text_files_apart(old: Path, new: Path) -> str | None:
    first, second = (file.read_text(encoding="utf-8", errors="surrogateescape") for file in (old, new))
    return texts_apart(first, second, close=True)


def pages_apart(old: Path, new: Path) -> str | None:
    return numbers_apart(visible(old.read_text(encoding="utf-8")), visible(new.read_text(encoding="utf-8")))


def visible(page: str) -> str:
    """The text that a reader of a page sees."""
    page = re.sub(r"<(script|style)\b.*?</\1>|<!--.*?-->", " ", page, flags=re.DOTALL | re.IGNORECASE)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def arrays_apart(old: Any, new: Any) -> str | None:
    import numpy as np

    old, new = np.asarray(old), np.asarray(new)
    if old.shape != new.shape or old.dtype != new.dtype:
        return f"{old.dtype} {old.shape} → {new.dtype} {new.shape}"
    if not np.issubdtype(old.dtype, np.floating):
        return None if np.array_equal(old, new) else f"{int((old != new).sum())} of {old.size} values"
    if not np.array_equal(np.isfinite(old), np.isfinite(new)):
        return "finite elsewhere"
    old, new = (array[np.isfinite(array)].astype(np.float64) for array in (old, new))
    apart = np.abs(old - new).max(initial=0) / max(np.abs(old).max(initial=0), 1e-30)
    return None if apart <= NEAR else f"apart by {apart:.1e} of the largest value"


def named_arrays_apart(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    if set(old) != set(new):
        return f"arrays {sorted(set(old) ^ set(new))} in one alone"
    found = {name: what for name in old if (what := arrays_apart(old[name], new[name]))}
    return "; ".join(f"{name} {what}" for name, what in list(found.items())[:2]) or None


def npy_apart(old: Path, new: Path) -> str | None:
    import numpy as np

    return arrays_apart(np.load(old), np.load(new))


def npz_apart(old: Path, new: Path) -> str | None:
    import numpy as np

    return named_arrays_apart(dict(np.load(old)), dict(np.load(new)))


def safetensors_apart(old: Path, new: Path) -> str | None:
    import torch
    from safetensors import safe_open

    found, notes = [], []
    for path in (old, new):
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            half = (torch.bfloat16, torch.float16)
            found.append({name: (t.float() if t.dtype in half else t).numpy() for name, t in tensors.items()})
            notes.append(json.dumps(file.metadata(), sort_keys=True))
    return named_arrays_apart(found[0], found[1]) or texts_apart(notes[0], notes[1], close=True)


def pictures_apart(old: Any, new: Any) -> str | None:
    import numpy as np
    from PIL import Image

    first, second = (np.asarray(Image.open(file)).astype(int) for file in (old, new))
    if first.shape != second.shape:
        return f"{first.shape} → {second.shape} pixels"
    apart = np.abs(first - second)
    if apart.max(initial=0) <= LEVELS and (apart > 0).mean() <= SHARE:
        return None
    return f"{(apart > 0).mean():.2%} of its values, by up to {apart.max()} levels"


def parquet_apart(old: Path, new: Path) -> str | None:
    import pyarrow.parquet as pq

    first, second = pq.read_table(old), pq.read_table(new)
    if first.schema.names != second.schema.names or first.schema.types != second.schema.types:
        return "other columns"
    notes = [str(sorted((table.schema.metadata or {}).items())) for table in (first, second)]
    if what := texts_apart(notes[0], notes[1], close=True):
        return f"metadata {what}"
    for name in first.schema.names:
        if what := columns_apart(first[name].to_pylist(), second[name].to_pylist()):
            return f"column {name} {what}"
    return None


def columns_apart(old: Any, new: Any) -> str | None:
    """Values as Python has them: numbers of a column near its largest, pictures by their pixels, the rest equal."""
    if old == new:
        return None
    first, second = list(flat(old)), list(flat(new))
    if [type(value) for value in first] != [type(value) for value in second]:
        return "other kinds or counts of values"
    numbers = [[value for value in side if isinstance(value, float)] for side in (first, second)]
    if what := arrays_apart(*numbers):
        return what
    rest = [(a, b) for a, b in zip(first, second, strict=True) if not isinstance(a, float) and a != b]
    for a, b in rest:
        what = (
            pictures_apart(io.BytesIO(a), io.BytesIO(b)) if isinstance(a, bytes) else texts_apart(str(a), str(b), True)
        )
        if what:
            return what
    return None


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from flat(each)
    else:
        yield value


KINDS: dict[str, Callable[[Path, Path], str | None]] = {
    **dict.fromkeys((".json", ".jsonl", ".csv", ".txt", ".svg", ".md"), text_files_apart),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp"), pictures_apart),
    ".html": pages_apart,
    ".npy": npy_apart,
    ".npz": npz_apart,
    ".safetensors": safetensors_apart,
    ".parquet": parquet_apart,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("record", help="run every command and store what comes out")
    one.add_argument("out", type=Path)
    one.add_argument("--src", type=Path, default=ROOT / "src", help="the src folder that goes first on PYTHONPATH")
    one.add_argument("--slow", action="store_true", help="also the demo, which takes two minutes")
    two = commands.add_parser("compare", help="compare two stores")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    two.add_argument("--close", action="store_true", help="numbers within 1e-6 instead of the same bytes")
    inner = commands.add_parser("run")
    inner.add_argument("out", type=Path)
    inner.add_argument("group", choices=list(CASES))
    inner.add_argument("--slow", action="store_true")
    given = parser.parse_args()
    if given.command == "record":
        return record(given.out.resolve(), given.src.resolve(), given.slow)
    if given.command == "compare":
        return compare(given.before, given.after, given.close)
    run(given.out, given.group, given.slow)
    return 0


if __name__ == "__main__":
    sys.exit(main())
