"""`--in-domain`: the copy, its verdicts beside those on the network, the agreement of ranks, and going on."""

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audits import example_audit
from tiny_training import draw_pictures, tiny_network

from regard.audit.audit import AuditOutput, audit
from regard.audit.indomain import adaptation, second
from regard.audit.indomain.adaptation import adapted, expected_seconds
from regard.audit.indomain.second import rank_agreement
from regard.audit.settings import AuditSettings
from regard.data.dataset import Dataset
from regard.data.layouts import read
from regard.errors import DataError, NetworkError
from regard.measurement.faithfulness.occluders import MEAN, TOKENS, occluding
from regard.networks.network import Network
from regard.networks.predict import prepared
from regard.records import InDomain, Score, Verdict
from regard.rendering.pages.audits.audit import audit_page
from regard.results.audits import read_audit

SETTINGS = AuditSettings(methods=("attention", "gradcam", "rollout"), workers=0, steps=4, batch_size=5, in_domain=True)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read(draw_pictures(tmp_path_factory.mktemp("domain") / "data", each=8))


@pytest.fixture(scope="module")
def audited(every: Dataset) -> Dataset:
    return every.select(range(0, len(every), 4))


@pytest.fixture(scope="module")
def network(every: Dataset) -> Network:
    return tiny_network(every.classes)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "STEPS", 5)


# The copy.


def _pixels(network: Network, part: Dataset) -> torch.Tensor:
    return next(prepared(network, part.pictures, batch_size=len(part), workers=0))[1]


def _loss(network: Network, of: Network, part: Dataset, occluder: str) -> float:
    """How far answers of a half of the patches are from those of the whole picture, in nats."""
    pixels = _pixels(network, part)
    targets = network.probabilities(network.logits(pixels))
    remaining = torch.rand(len(part), 16, generator=torch.Generator().manual_seed(5)).argsort(dim=1)[:, :8]
    with occluding(of, pixels, occluder) as occluded:
        logits = occluded.logits(torch.arange(len(part)), remaining)
    return float(torch.nn.functional.cross_entropy(logits, targets))


@pytest.mark.parametrize("occluder", [TOKENS, MEAN])
def test_the_copy_answers_with_patches_gone_as_the_network_does_without(
    network: Network, every: Dataset, audited: Dataset, occluder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "RATE", 1e-3)
    digest = network.weights_hash()
    chance = torch.get_rng_state()
    copy = adapted(network, every.pictures, occluder, steps=60)
    assert _loss(network, copy, audited, occluder) < _loss(network, network, audited, occluder)
    assert network.weights_hash() == digest != copy.weights_hash()
    assert (torch.get_rng_state() == chance).all()
    assert all(weight.requires_grad for weight in network.module.parameters())
    whole = network.probabilities(network.logits(_pixels(network, audited)))
    kept = copy.probabilities(copy.logits(_pixels(network, audited)))
    assert float((whole - kept).abs().max()) < 0.4


def test_the_copy_is_a_function_of_network_pictures_and_seed(network: Network, every: Dataset) -> None:
    first, again, other = (adapted(network, every.pictures, TOKENS, steps=3, seed=seed) for seed in (0, 0, 1))
    assert first.weights_hash() == again.weights_hash() != other.weights_hash()
    assert expected_seconds(network) > 0


def test_what_cannot_be_copied_is_refused(network: Network, every: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"12 pictures of DATA are not audited, and --in-domain needs 16 .* --split"):
        adapted(network, every.pictures[:12], TOKENS)
    monkeypatch.setattr(adaptation, "is_sealed", lambda module: True)
    with pytest.raises(NetworkError, match=r"a copy of .* cannot be trained, as it is compiled"):
        adapted(network, every.pictures, MEAN)


# The agreement.


def test_ranks_by_hand() -> None:
    """Three methods in the same order, in the opposite one, and in one that depends on the picture."""
    scores = np.array([[0.1, 0.2, 0.1, 0.2], [0.3, 0.4, 0.3, 0.4], [0.5, 0.6, 0.5, 0.6]])
    same = rank_agreement(scores, scores + 0.1)
    assert (same.value, same.low, same.high, same.n) == (1.0, 1.0, 1.0, 4)
    assert rank_agreement(scores, scores[::-1]).value == -1.0
    assert rank_agreement(scores, scores[[0, 2, 1]]).value == pytest.approx(0.5)
    mixed = rank_agreement(scores, np.array([[0.9, 0, 0.9, 0], [0.3, 0.4, 0.3, 0.4], [0.5, 0.6, 0.5, 0.6]]))
    assert mixed.low < mixed.value < mixed.high or mixed.low < mixed.high
    missing = scores.copy()
    missing[0, 1] = np.nan
    assert rank_agreement(missing, scores).n == 3
    grouped = rank_agreement(scores, scores, np.array(["a", "a", "b", "b"]))
    assert (grouped.n, np.isnan(grouped.low)) == (2, True)
    assert rank_agreement(scores * np.nan, scores).n == 0


# The audit.


def test_both_verdicts_stand_side_by_side(
    network: Network, every: Dataset, audited: Dataset, quick: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="regard")
    out = tmp_path / "audit"
    made = audit(network, audited, SETTINGS, every=every, output=AuditOutput(out))
    domain = made.in_domain
    assert domain is not None
    assert set(domain.by_method) == {"attention", "gradcam", "rollout"}
    assert domain.pictures == len(every) - len(audited)
    assert set(domain.agreement) == {"srg", "single_deletion"}
    assert all(-1 <= each.value <= 1 and each.n == len(audited) for each in domain.agreement.values())
    assert domain.settings["occluder"] == TOKENS
    assert domain.same.n == len(audited)
    assert domain.verdicts[0].model != made.verdicts[0].model  # it holds for the copy alone
    assert domain.finding("srg", "gradcam") is not None and domain.finding("single_deletion", "random") is not None
    assert made.sentences[-1] == domain.sentence(made.verdicts)
    assert "in domain: gradcam:" in made.text
    assert read_audit(out).in_domain == domain
    plain = audit(network, audited, replace(SETTINGS, in_domain=False), every=every)
    assert plain.in_domain is None
    assert made.verdicts == plain.verdicts and made.findings == plain.findings
    stored = json.loads((out / "verdicts.json").read_text())
    assert {each["model"] for each in stored["verdicts"]} == {made.verdicts[0].model}
    (line,) = (record.message for record in caplog.records if record.message.startswith("in-domain: "))
    assert "training a copy takes about" in line


def test_an_interrupted_one_goes_on_to_the_same_bytes(
    network: Network, every: Dataset, audited: Dataset, quick: None, tmp_path: Path
) -> None:
    """Stopped while the copy is trained, and again while it is audited; a copy that was trained stays."""
    settings = replace(SETTINGS, methods=("gradcam",))
    audit(network, audited, settings, every=every, output=AuditOutput(tmp_path / "whole"))
    output = AuditOutput(tmp_path / "audit")
    steps: list[int] = []

    def run(stop: str) -> None:
        @contextmanager
        def progress(name: str, total: int) -> Any:
            def advance(count: int) -> None:
                if name == stop and count:
                    raise KeyboardInterrupt
                if name.startswith("training a copy"):
                    steps.append(count)

            yield advance

        audit(network, audited, settings, every=every, output=output, progress=progress)

    for stop, trained in (("training a copy with patches gone", 0), ("auditing the copy", 5)):
        with pytest.raises(KeyboardInterrupt):
            run(stop)
        assert len(steps) == trained
        assert not (tmp_path / "audit").exists()
    run("")
    assert len(steps) == 5
    for path in (tmp_path / "whole").rglob("*"):
        if path.is_file():
            assert (tmp_path / "audit" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_too_few_others_are_refused_before_any_work(network: Network, every: Dataset, tmp_path: Path) -> None:
    for others in (every, None):
        with pytest.raises(DataError, match="0 pictures of DATA are not audited"):
            audit(network, every, SETTINGS, every=others, output=AuditOutput(tmp_path / "audit"))
    assert not list(tmp_path.iterdir())


# The record.


def _verdict(method: str, status: str) -> Verdict:
    return Verdict("Faithful?", method, {}, "3f9a", "77c1", status, "", 0.1, 0.0, 0.2, 74)


def test_where_they_differ_the_sentence_says_so() -> None:
    first = (_verdict("gradcam", "supported"), _verdict("rollout", "supported"), _verdict("edges", "contradicted"))
    again = (_verdict("gradcam", "not decidable"), _verdict("rollout", "supported"), _verdict("edges", "supported"))
    domain = InDomain(again, (), {"srg": Score(0.8, 0.5, 1.0, 74)}, Score(1.0, 0.95, 1.0, 74), 111)
    assert domain.differing(first) == ("gradcam",)
    assert domain.sentence(first) == (
        "On a copy to which missing patches are nothing new, 1 of 2 verdicts are the same; of gradcam it is "
        "'supported' here and 'not decidable' there; the order of methods by SRG agrees by 0.800 [0.500, 1.000] in "
        "ranks."
    )
    assert domain.sentence(first[:1]).startswith(
        "On a copy to which missing patches are nothing new, 0 of 1 verdict is"
    )


def _text(page: str) -> str:
    """What a page shows, without its data and style."""
    body = page[page.index("<main") : page.index("</main>")]
    return re.sub(r"<[^>]+>", "", body)


def test_the_page_has_both_side_by_side() -> None:
    plain = example_audit()
    statuses = {each.method: each.status for each in plain.verdicts}
    again = tuple(
        replace(each, status="not decidable" if each.method == "rollout" else each.status, model="0" * 64)
        for each in plain.verdicts
    )
    domain = InDomain(again, plain.findings, {"srg": Score(0.83, 0.6, 0.9, 74)}, Score(0.97, 0.9, 0.99, 74), 185)
    page = audit_page(replace(plain, in_domain=domain))
    text = " ".join(_text(page).split())
    assert statuses["rollout"] == "supported"
    assert "On a copy that knows missing patches" in text
    assert "where they differ, take it that it cannot be decided" in text
    assert "SRG 0.830 [0.600, 0.900]" in text
    assert "0.970 [0.900, 0.990] of these pictures" in text
    assert "&lt;b&gt;&amp; outside" in page and "<b>& outside" not in page
    same = replace(plain, in_domain=replace(domain, verdicts=plain.verdicts))
    assert "Both give the same verdicts" in _text(audit_page(same))
    assert "On a copy" not in _text(audit_page(plain))
