"""The example action for CI: it parses, nothing of a user's is part of its scripts, and its commands do as it says."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import regard
from regard.measurement.intervals import wilson

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "examples" / "regard-action" / "action.yml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def step(action: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in action["runs"]["steps"] if each.get("name") == name)


def arguments(action: dict[str, Any], folder: Path, status: int = 0, **inputs: str) -> tuple[int, list[str], str]:
    """The step run in bash, with a `regard` that notes how it is called: exit code, its arguments, and the summary."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "regard").write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" > "{folder}/called"\necho found\nexit {status}\n')
    (tools / "regard").chmod(0o755)
    audit = step(action, "Audit")
    given = {name: each.get("default", "") for name, each in action["inputs"].items()} | inputs
    values = {
        name: given[re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", text)[1]]  # type: ignore[index]
        for name, text in audit["env"].items()
    }
    places = {name: str(folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    environment = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "RUNNER_TEMP": str(folder), **places, **values}
    code = subprocess.run(["bash", "-eo", "pipefail", "-c", audit["run"]], env=environment, cwd=folder).returncode
    called = (folder / "called").read_text().split("\0")[:-1]
    assert (folder / "GITHUB_OUTPUT").read_text().endswith(f"out={given['out']}\n")
    return code, called, (folder / "GITHUB_STEP_SUMMARY").read_text()


def test_nothing_of_a_user_is_a_part_of_a_script(action: dict[str, Any]) -> None:
    assert action["runs"]["using"] == "composite"
    for each in action["runs"]["steps"]:
        assert "${{" not in each.get("run", "")
        assert ("uses" in each) != ("run" in each)
        if "run" in each:
            assert each["shell"] == "bash"
    named = set(re.findall(r"inputs\.([\w-]+)", str(action["runs"])))
    assert named == set(action["inputs"]), "every input is used, and no other"


def test_its_command_line_is_what_the_inputs_say(action: dict[str, Any], tmp_path: Path) -> None:
    evil = '$(touch pwned) "; touch pwned; `touch pwned`'
    code, called, summary = arguments(
        action,
        tmp_path,
        model="m",
        data=evil,
        require="top1>=0.8\n\nworst_slice>=0.5\n",
        slice="ground\nsize",
        split="all",
    )
    assert code == 0
    assert called == [
        *("audit", evil, "--model", "m", "--out", "audited", "--split", "all"),
        *("--slice", "ground", "--slice", "size", "--require", "top1>=0.8", "--require", "worst_slice>=0.5"),
    ]
    assert not (tmp_path / "pwned").exists()
    assert "all rules are met" in summary
    assert "    found" in summary
    code, _, summary = arguments(action, tmp_path, 1, model="m", data="d")
    assert code == 1
    assert "exit code 1" in summary


def test_a_model_that_does_not_meet_a_rule_fails(action: dict[str, Any], tmp_path: Path, run: Run) -> None:
    generator = np.random.default_rng(0)
    for place in range(4):
        folder = tmp_path / "pictures" / ("cat", "dog")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (32, 40, 3), np.uint8)).save(folder / f"{place}.png")
    regard.save(regard.load("random:test_vit", classes=["cat", "dog"], size=64), tmp_path / "run")
    inputs = {"model": str(tmp_path / "run"), "data": str(tmp_path / "pictures"), "methods": "gradcam"}
    rules = "top1>=0\ntop1.low>=0.99"
    _, called, _ = arguments(action, tmp_path, **inputs, require=rules, out=str(tmp_path / "audited"))
    code, printed, messages = run(*called, "--workers", 0)
    assert code == 1
    assert "top1.low>=0.99 is not met" in messages
    assert "top1>=0 is" not in messages
    assert "pictures" in printed
    assert (tmp_path / "audited" / "report.html").is_file(), "there is something to keep"


def test_the_recipe_names_inputs_and_rules_that_there_are(action: dict[str, Any]) -> None:
    from regard.audit.requirements import Requirement

    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    workflow, gitlab = (yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    lines = [*re.findall(r"--require '([^']+)'", text), *re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)]
    uses = workflow["jobs"]["audit"]["steps"][1]["with"]
    assert set(uses) <= set(action["inputs"])
    assert {name for name, each in action["inputs"].items() if each.get("required")} <= set(uses)
    rules = [*uses["require"].splitlines(), *lines]
    for rule in rules:
        Requirement.parse(rule)
    assert len(rules) > 12
    assert gitlab["audit"]["artifacts"]["when"] == "always"
    assert wilson(63, 70)[0] >= 0.8 > wilson(54, 60)[0], "how many pictures a rule needs"
    assert wilson(180, 200)[0] >= 0.85 > wilson(171, 190)[0]
