"""onnxruntime-web, which runs a network in a browser: fetched once by npm, or given, and always the same two files.

What is used is known by its SHA-256: another version, or a file that was changed on its way, is refused.
"""

import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from regard.errors import DataError, OutputError, UsageError
from regard.files import cache_folder, reading, write_file

log = logging.getLogger("regard")

NAME = "onnxruntime-web"
VERSION = "1.30.0"
SCRIPT = "ort.wasm.bundle.min.mjs"
WASM = "ort-wasm-simd-threaded.wasm"
HASHES = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 of the two files that are used, of `VERSION`."""
LONGEST = 300
"""Seconds that fetching may take."""
ADVICE = (
    f"on a machine with a network and npm run `npm pack {NAME}@{VERSION}`, and give the file that it leaves with "
    "--runtime FILE.tgz"
)
LICENCE = f"""{NAME} {VERSION}

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""
"""The runtime's licence, which its package names and does not hold; it goes with every page."""
EXPORTED = ("InferenceSession", "Tensor", "env")


@dataclass(frozen=True)
class Runtime:
    """The runtime: `script`, a module's text, and `wasm`, which it runs."""

    script: str
    wasm: bytes

    @property
    def code(self) -> str:
        """The script for a worker that is no module, as pages from `file://` may start no other: it leaves `ort`."""
        body, _, exports = self.script.rpartition("export{")
        pairs = [each.split(" as ") for each in exports.partition("}")[0].split(",")]
        names = {public: local for local, public in pairs if public in EXPORTED}
        ort = ", ".join(f"{public}: {names[public]}" for public in EXPORTED)
        return (
            f"const ort = (() => {{\n{body.replace('import.meta.url', 'self.location.href')}\nreturn {{{ort}}};\n}})();"
        )


def runtime(place: Path | None = None) -> Runtime:
    """The runtime from `place`, npm's archive or an unpacked folder of it; without one from the cache, where it is
    fetched to on first use.

    Raises `UsageError` for a place that is none, `DataError` for other files than those that are known, and
    `OutputError` where it can be fetched neither.
    """
    if place is not None:
        return _checked(_local(place), str(place))
    folder = cache_folder() / f"{NAME}-{VERSION}"
    if not all((folder / name).is_file() for name in HASHES):
        with tempfile.TemporaryDirectory() as scratch:
            contents = _archive(_fetched(Path(scratch)))
        _checked(contents, "what npm fetched")
        for name, content in contents.items():
            write_file(folder / name, content)
    return _checked(_folder(folder), str(folder))


def _checked(contents: Mapping[str, bytes], place: str) -> Runtime:
    for name, digest in HASHES.items():
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise DataError(
                f"{name} of {place} is not that of {NAME} {VERSION}: its SHA-256 is another; remove it, or give that "
                f"version; {ADVICE}"
            )
    return Runtime(contents[SCRIPT].decode("utf-8"), contents[WASM])


def _local(place: Path) -> dict[str, bytes]:
    if place.is_file():
        return _archive(place)
    for folder in (
        place / "dist",
        place / "package" / "dist",
        place / NAME / "dist",
        place / "node_modules" / NAME / "dist",
    ):
        if (folder / SCRIPT).is_file():
            return _folder(folder)
    if (place / SCRIPT).is_file():
        return _folder(place)
    what = "is not there" if not place.exists() else f"holds no {SCRIPT}"
    raise UsageError(f"{place} {what}; --runtime takes npm's archive of {NAME} or its folder in node_modules; {ADVICE}")


def _folder(folder: Path) -> dict[str, bytes]:
    with reading(folder, ADVICE):
        return {name: (folder / name).read_bytes() for name in HASHES}


def _archive(file: Path) -> dict[str, bytes]:
    """The two files in npm's archive, which has everything in `package/`."""
    try:
        with tarfile.open(file, "r:gz") as archive:
            contents = {}
            for name in HASHES:
                member = archive.extractfile(f"package/dist/{name}")
                if member is None:
                    raise KeyError(name)
                contents[name] = member.read()
            return contents
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise DataError(f"{file} is no archive of {NAME} ({error}); {ADVICE}") from error


def _fetched(folder: Path) -> Path:
    """npm's archive, fetched by npm itself, which checks it, from where this machine has its packages from."""
    npm = shutil.which("npm")
    if npm is None:
        raise OutputError(f"the page needs {NAME} {VERSION}, and there is no npm here that could fetch it; {ADVICE}")
    log.info(f"fetching {NAME} {VERSION} by npm, once")
    quiet = {"ignore_scripts": "true", "loglevel": "error", "fetch_retries": "1"}
    environment = {**os.environ, **{f"npm_config_{name}": value for name, value in quiet.items()}}
    words = [npm, "pack", f"{NAME}@{VERSION}"]
    try:
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
        )
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        why = lines[0][:200]  # behind it stands where npm's log is
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)[:200]
    archives = sorted(folder.glob("*.tgz"))
    if not archives:
        raise OutputError(f"npm could not fetch {NAME} {VERSION} ({why}); {ADVICE}")
    return archives[0]
