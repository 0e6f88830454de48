"""What all exports share: checked first, whole or not at all, on the hub in one commit, errors in one line."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError
from test_round_trips import FAMILIES, network_of

import regard
from regard.app.cli import main
from regard.errors import DataError, NetworkError, OutputError, UsageError
from regard.exports import EXPORTS, timm_folder
from regard.exports.parity import measured, pictures
from regard.networks.network import Network
from regard.networks.run import save


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a small network."""
    return save(network_of(*FAMILIES["ViT"]), tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def network() -> Network:
    return network_of(*FAMILIES["ViT"])


def test_a_folder_has_its_card_and_its_manifest(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run), "--to", "timm", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "timm export, written to" in printed and "(refused beyond 1e-05)" in printed
    assert {each.name for each in out.iterdir()} == {"README.md", "config.json", "manifest.json", "model.safetensors"}
    card = (out / "README.md").read_text()
    assert card.startswith("---\n") and "never evaluated" in card.lower()
    assert str(run.parent) not in card + (out / "manifest.json").read_text()
    assert main(["export", str(run), "--to", "timm", "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["export", str(run), "--to", "timm", "--out", str(out), "--overwrite", "--json"]) == 0


def test_what_breaks_off_leaves_what_was_there(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    regard.export(network, out, "timm")
    before = {each.name: each.read_bytes() for each in out.iterdir()}

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timm_folder, "same_inputs", cut)
    for place in (out, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            regard.export(network, place, "timm", overwrite=True)
    assert {each.name: each.read_bytes() for each in out.iterdir()} == before and [*tmp_path.iterdir()] == [out]


def test_an_export_that_is_off_is_refused(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = network_of(*FAMILIES["ViT"])
    monkeypatch.setattr(timm_folder.timm, "create_model", lambda *_, **__: _off(changed))
    with pytest.raises(
        OutputError, match=r"the export's logits differ from the network's by .* where 1e-05 is allowed"
    ):
        regard.export(network, tmp_path / "out", "timm")
    assert [*tmp_path.iterdir()] == []
    value = pictures_of_noise()
    with pytest.raises(OutputError, match="nan of their"):
        measured("map", value * float("nan"), value)


def _off(network: Network) -> Any:
    network.module.head.bias.data[0] += 0.01
    return network.module


def pictures_of_noise() -> Any:
    import numpy as np

    return np.asarray(pictures()[3], np.float32)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no such form": ({"to": "tflite"}, UsageError, "unknown export 'tflite'"),
    "a setting of another": ({"to": "timm", "opset": 18}, UsageError, "--to timm has no use for --opset"),
    "an ending": ({"to": "pt2"}, UsageError, r"writes one file; give --out NAME\.pt2"),
    "no form": ({"to": ""}, UsageError, "to is missing; give one of"),
    "a variant": ({"to": "timm", "variant": "fp8"}, UsageError, "unknown variant 'fp8'"),
    "a captioner": ({"to": "timm", "model": "scenes-captioner"}, NetworkError, "is a captioner, and exports are of"),
    "no audit": ({"to": "timm", "audit": "nowhere"}, DataError, "nowhere"),
    "a repository": ({"to": "timm", "push_to": "name"}, UsageError, "give OWNER/NAME"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_line(what: str, run: Path, tmp_path: Path) -> None:
    arguments, kind, message = WRONG[what]
    with pytest.raises(kind, match=message) as refused:
        regard.export(**{"model": run, "out": tmp_path / "out", **arguments})
    assert "\n" not in str(refused.value) and [*tmp_path.iterdir()] == []


def test_a_run_is_not_replaced_by_its_export(run: Path) -> None:
    before = sorted(each.name for each in run.iterdir())
    with pytest.raises(OutputError, match="is the run that is exported, which stays"):
        regard.export(run, run, "timm", overwrite=True)
    assert sorted(each.name for each in run.iterdir()) == before


class RefusalError(HfHubHTTPError):
    def __init__(self, status: int) -> None:
        Exception.__init__(self, f"{status} Client Error\nmore lines")
        self.response = SimpleNamespace(status_code=status)


class Hub:
    """A hub in memory that takes the place of the client's calls; `status` is what it refuses commits with."""

    endpoint = "https://hub.example"

    def __init__(self, status: int | None = None) -> None:
        self.status = status
        self.commits: list[tuple[str, dict[str, bytes], str]] = []
        self.private: bool | None = None

    def __call__(self, **_: Any) -> "Hub":
        return self

    def create_repo(self, repository: str, private: bool, exist_ok: bool) -> None:
        self.private = private

    def create_commit(self, repository: str, operations: list[Any], commit_message: str) -> None:
        if self.status is not None:
            raise RefusalError(self.status)
        files = {}
        for each in operations:
            with each.as_file() as file:
                files[each.path_in_repo] = file.read()
        self.commits.append((repository, files, commit_message))


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub answers, and there is a token."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "a token")
    monkeypatch.setattr("regard.exports.hub.require", lambda *_: None)


@pytest.mark.usefixtures("reached")
def test_a_push_is_one_commit_with_the_card(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", hub)
    result = regard.export(run, tmp_path / "out", "timm", push_to="me/first")
    assert result.pushed == "https://hub.example/me/first" and "pushed to" in str(result)
    ((repository, files, message),) = hub.commits
    assert (repository, hub.private) == ("me/first", True) and "first, exported by regard as timm" in message
    assert files == {each.name: each.read_bytes() for each in (tmp_path / "out").iterdir()}
    regard.export(run, tmp_path / "a.pt2", "pt2", push_to="me/first")
    assert set(hub.commits[1][1]) == {"a.pt2", "README.md"} and hub.commits[1][1]["README.md"].startswith(b"---\n")


@pytest.mark.usefixtures("reached")
@pytest.mark.parametrize(
    ("status", "message"), [(403, "may not write there"), (401, "token is not valid"), (500, "500")]
)
def test_what_the_hub_refuses_stays_here(
    status: int, message: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub(status))
    with pytest.raises(OutputError, match=f"{message}.*the export itself is whole") as refused:
        regard.export(run, tmp_path / "out", "timm", push_to="me/first")
    assert "\n" not in str(refused.value) and (tmp_path / "out" / "manifest.json").is_file()


def test_a_hub_that_cannot_be_had(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, without a token, without a network: said before any work."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE is set"):
        regard.export(run, tmp_path / "out", "timm", push_to="me/first")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UsageError, match=r"there is no token.*hf auth login"):
        regard.export(run, tmp_path / "out", "timm", push_to="me/first")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "a token")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NetworkError, match="no network, the hub does not answer"):
        regard.export(run, tmp_path / "out", "timm", push_to="me/first")
    assert [*tmp_path.iterdir()] == []


def test_rows_from_outside(run: Path, tmp_path: Path) -> None:
    assert set(EXPORTS.names) >= {"hf", "timm", "pt2"}
    with pytest.raises(UsageError, match="exists already"):
        regard.register_export(SimpleNamespace(name="timm", target="a:b"))  # type: ignore[arg-type]
