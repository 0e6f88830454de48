"""Where a live page has its runtime from: given, or fetched once by npm, and never another file than the known ones."""

import hashlib
import io
import os
import tarfile

import pytest

from regard.errors import DataError, OutputError, UsageError
from regard.exports.web import runtime as module
from regard.exports.web.runtime import ADVICE, HASHES, SCRIPT, WASM, runtime

CONTENT = {
    SCRIPT: b"var a=1,b=2,c=3;const e=import.meta.url;export{a as InferenceSession,b as Tensor,c as env,a as other};\n",
    WASM: b"\0asm",
}


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Small files in the place of the real ones, and an empty cache."""
    monkeypatch.setattr(module, "HASHES", {name: hashlib.sha256(each).hexdigest() for name, each in CONTENT.items()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def archive(path, contents=CONTENT):
    with tarfile.open(path, "w:gz") as file:
        for name, content in contents.items():
            about = tarfile.TarInfo(f"package/dist/{name}")
            about.size = len(content)
            file.addfile(about, io.BytesIO(content))
    return path


def npm(folder, monkeypatch, lines):
    """An npm that does what `lines` of a shell say, before any other."""
    folder.mkdir()
    (folder / "npm").write_text("#!/bin/sh\n" + lines)
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_it_is_read_from_an_archive_or_a_folder_and_becomes_a_script_that_is_no_module(known):
    given = archive(known / "npm.tgz")
    folder = known / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    for place in (given, folder, folder.parent, folder.parent.parent, known):
        assert runtime(place).wasm == CONTENT[WASM]
    code = runtime(given).code
    assert "import.meta" not in code and "export{" not in code
    assert "return {InferenceSession: a, Tensor: b, env: c};" in code


def test_another_version_or_a_changed_file_is_refused(known):
    with pytest.raises(DataError, match=f"{WASM} of .* is not that of onnxruntime-web 1.30.0"):
        runtime(archive(known / "other.tgz", {**CONTENT, WASM: b"\0asm2"}))
    with pytest.raises(DataError, match="is no archive of onnxruntime-web"):
        runtime(archive(known / "less.tgz", {SCRIPT: CONTENT[SCRIPT]}))
    (known / "text.tgz").write_text("no archive")
    with pytest.raises(DataError, match="is no archive of onnxruntime-web"):
        runtime(known / "text.tgz")
    for place, why in ((known, f"holds no {SCRIPT}"), (known / "nowhere", "is not there")):
        with pytest.raises(UsageError, match=why):
            runtime(place)


def test_it_is_fetched_once(known, monkeypatch):
    given = archive(known / "given.tgz")
    npm(known / "bin", monkeypatch, f'echo x >> "{known}/asked"\ncp "{given}" ./onnxruntime-web-1.30.0.tgz\n')
    assert runtime().wasm == runtime().wasm == CONTENT[WASM]
    assert (known / "asked").read_text() == "x\n"
    (known / "cache" / "regard" / "onnxruntime-web-1.30.0" / WASM).write_bytes(b"damaged")
    with pytest.raises(DataError, match="its SHA-256 is another; remove it"):
        runtime()


def test_what_npm_fetched_is_not_believed(known, monkeypatch):
    given = archive(known / "given.tgz", {**CONTENT, SCRIPT: b"evil"})
    npm(known / "bin", monkeypatch, f'cp "{given}" ./onnxruntime-web-1.30.0.tgz\n')
    with pytest.raises(DataError, match="what npm fetched is not that of onnxruntime-web"):
        runtime()
    assert not (known / "cache" / "regard").exists()


def test_without_a_network_or_without_npm_it_is_said_what_to_do(known, monkeypatch):
    npm(known / "bin", monkeypatch, "echo 'npm error code ENOTFOUND' >&2\necho 'a log is in /secret' >&2\nexit 1\n")
    with pytest.raises(OutputError, match=r"npm could not fetch onnxruntime-web 1\.30\.0 .*ENOTFOUND") as caught:
        runtime()
    assert str(caught.value).endswith(ADVICE) and "secret" not in str(caught.value)
    monkeypatch.setenv("PATH", str(known / "empty"))
    with pytest.raises(OutputError, match="there is no npm here that could fetch it; on a machine with a network"):
        runtime()


def test_the_known_files_are_those_of_the_lock_that_tests_use():
    from onnxruntime_web import runtime_folder

    assert set(HASHES) == set(CONTENT)
    assert len(runtime(runtime_folder()).wasm) > 1e7
