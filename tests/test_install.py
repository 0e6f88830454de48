"""How regard is installed and released: the page, the container and the workflows, held against the project's files."""

import re
import tomllib
from inspect import signature
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_page_names_every_extra_and_what_it_adds() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| ([^|]+) \|", page))
    extras = PROJECT["project"]["optional-dependencies"]
    assert rows == {name: ", ".join(re.match(r"[\w-]+", each)[0] for each in needs) for name, needs in extras.items()}  # type: ignore[index]
    assert f"regard-{PROJECT['project']['version']}-py3-none-any.whl" in page


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, lines that go on joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in pairs]


def test_the_container_copies_what_is_there_and_what_builds_the_package() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    copied: set[str] = set()
    for word, rest in _instructions():
        assert word in {"FROM", "WORKDIR", "COPY", "ENV", "RUN", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}, word
        if word == "COPY" and not rest.startswith("--from="):
            copied.update(rest.split()[:-1])
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, f"{name} is kept from the container by .dockerignore"
    needed = {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "pyproject.toml", "src"}
    assert needed <= copied


def test_the_container_installs_pinned_hashes_alone_and_runs_as_nobody_special() -> None:
    instructions = _instructions()
    installs = [
        line for word, rest in instructions if word == "RUN" for line in rest.split("&&") if " install " in line
    ]
    packages = [line for line in installs if "pip" in line]
    assert len(packages) == 3
    for line in packages:
        own = line.rstrip().endswith(" .") and "--no-deps" in line and "--no-build-isolation" in line
        assert own or "--require-hashes" in line, line
    bases = [rest.split()[0] for word, rest in instructions if word == "FROM"]
    assert all(re.fullmatch(r"python:3\.\d+-slim", base) for base in bases)
    words = [word for word, _ in instructions]
    last = instructions[len(words) - 1 - words[::-1].index("FROM") :]
    users = [rest for word, rest in last if word == "USER"]
    assert users == ["regard"]
    assert any(f"useradd --create-home --uid 1000 {users[0]}" in rest for word, rest in last if word == "RUN")
    assert ("ENTRYPOINT", f'["{next(iter(PROJECT["project"]["scripts"]))}"]') in last


def test_what_the_container_pins_is_what_the_tests_ran_with() -> None:
    """Its lock is a part of the other, hash by hash, and has what regard and its extras there need."""
    pins = {}
    for name in ("requirements.lock", "requirements-run.lock"):
        entries = re.split(r"\n(?=\S)", (ROOT / name).read_text(encoding="utf-8").strip())
        pins[name] = {entry.split()[0]: set(re.findall(r"sha256:\w+", entry)) for entry in entries}
    everything = pins["requirements.lock"]
    for pin, hashes in pins["requirements-run.lock"].items():
        assert hashes == everything[pin], f"{pin}: run `make lock`"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    extras = re.findall(r"--extra (\w+)", makefile)
    assert {"onnx", "serve"} <= set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    needs = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]
    needs += [need for extra in extras for need in PROJECT["project"]["optional-dependencies"][extra]]
    names = {re.match(r"[\w.-]+", need)[0].lower() for need in needs}  # type: ignore[index]
    assert names <= {pin.partition("==")[0] for pin in pins["requirements-run.lock"]}


def test_the_container_serves_by_the_rule_of_the_server() -> None:
    """From outside it is reached with --host and a token alone, as the page and the file say."""
    from regard.app.commands.serve import serve

    assert signature(serve).parameters["host"].default == "127.0.0.1"
    for name in ("Dockerfile", "docs/install.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        (line,) = re.findall(r"docker run .* regard serve.*", text)
        assert "-p 127.0.0.1:8000:8000" in line
        assert "-e REGARD_TOKEN=" in line
        assert line.endswith("--host 0.0.0.0")


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_what_is_there(path: Path) -> None:
    """Its targets of make, its files, its jobs; no token, and rights for one job at a time."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    jobs = workflow["jobs"]
    assert workflow["permissions"] == {"contents": "read"}
    lines = []
    for job in jobs.values():
        assert {job.get("needs", next(iter(jobs)))} <= set(jobs)
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step.get("uses", "a/b@v1"))
            lines.append(step.get("run", ""))
            for place in [step.get("with", {}).get("path", "dist")]:
                assert place.startswith("dist"), "what make wheel and make docs leave"
    for target in re.findall(r"make (?:\w+=\w+ )?([\w-]+)", "\n".join(lines)):
        assert re.search(rf"(?m)^{target}:", makefile), target
    for name in re.findall(r"[\w-]+\.(?:toml|py|md|lock)", "\n".join(lines)):
        assert (ROOT / name).is_file(), name
    assert "secrets." not in path.read_text(encoding="utf-8")


def test_the_workflows_check_before_they_publish_and_say_what_nobody_has_seen() -> None:
    files = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS}
    checks = files["ci"]
    release = files["release"]
    systems = checks["jobs"]["unverified"]
    assert systems["continue-on-error"]
    assert "unverified" in systems["name"]
    assert systems["strategy"]["matrix"]["system"] == ["macos-latest", "windows-latest"]
    build = [step.get("run") for step in release["jobs"]["build"]["steps"]]
    assert [run for run in build if run and "make" in run] == [
        "make check",
        "make test",
        "make wheel-check",
        "make docs",
    ]
    assert release["jobs"]["publish"]["needs"] == "build"
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert release["jobs"]["pages"]["needs"] == "publish"
