"""`regard audit --before`: what changed since an audit of the same pictures, what it cost, and whether it is real."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audits import example_audit
from markup import check_safe
from tiny_training import draw_pictures, tiny_network

import regard
from regard.errors import DataError, UsageError
from regard.measurement.audits import check_before, compare_audits
from regard.networks.network import Network
from regard.records import Audit, AuditedPicture
from regard.rendering.pages.audits.comparison import audits_page
from regard.results.audits import read_audit
from regard.version import __version__


def _audit(answers: str, slices: str = "", **more: Any) -> Audit:
    """Pictures of the class "a" with these answers, one letter each, in these slices."""
    pictures = tuple(
        AuditedPicture(f"{at}.jpg", "a", answer, 0.9 - at / 1000, slices={"ground": slices[at]} if slices else {})
        for at, answer in enumerate(answers)
    )
    about = {"data": "77c1", "regard": __version__, "data_name": "pets"}
    return Audit((), pictures=pictures, n=len(answers), provenance=about, **more)


# What changed.


def test_every_other_answer_is_a_change_with_the_surest_first() -> None:
    found = compare_audits({"one": _audit("abcab"), "two": _audit("aabbb")})
    assert [(each.picture, each.first, each.predicted, each.right) for each in found.changes] == [
        ("1.jpg", "b", "a", True),
        ("2.jpg", "c", "b", False),
        ("3.jpg", "a", "b", False),
    ]
    assert found.sentences[0] == "3 of 5 answers changed from one to two, 1 to the right one and 1 from it."
    assert compare_audits({"one": _audit("ab"), "two": _audit("ab")}).sentences[0] == (
        "0 of 2 answers changed from one to two."
    )


def test_each_slice_is_paired_and_the_worst_is_judged_on_other_pictures() -> None:
    slices = "g" * 40 + "s" * 20
    before = _audit("a" * 38 + "bb" + "ab" * 4 + "b" * 12, slices)
    after = _audit("a" * 36 + "bbbb" + "a" * 18 + "bb", slices)
    found = compare_audits({"one": before, "two": after})
    by = {(each.measure, each.subject): each.score for each in found.differences}
    assert by["top1", "ground: g"].value == pytest.approx(-2 / 40)
    assert by["top1", "ground: s"].value == pytest.approx(14 / 20)
    assert by["worst_slice", ""].value == pytest.approx(14 / 20)
    assert by["worst_slice", ""].n == 20
    assert by["top1", ""].value == pytest.approx(12 / 60)
    assert found.sentences[1].startswith("The slice that was worst is better: +70 points [")
    assert found.sentences[2].startswith("Accuracy rose: +20 points [")


def test_what_chance_makes_the_worst_does_not_count_as_better() -> None:
    random = np.random.default_rng(0)
    gains, rises = [], 0
    for _ in range(60):
        one, two = ("".join(np.where(random.random(400) < 0.7, "a", "b")) for _ in range(2))
        slices = "".join("abcdefghijklmnopqrst"[at % 20] for at in range(400))
        found = compare_audits({"one": _audit(one, slices), "two": _audit(two, slices)})
        worst = next(each.score for each in found.differences if each.measure == "worst_slice")
        gains.append(worst.value)
        rises += "slice that was worst is better" in " ".join(found.sentences)
    assert abs(np.mean(gains)) < 0.06
    assert rises <= 6


def test_what_is_not_told_apart_is_called_so_and_what_it_cost_too() -> None:
    some = compare_audits({"one": _audit("a" * 20), "two": _audit("a" * 19 + "b")})
    assert some.sentences[1] == "What it cost in accuracy is not told apart from nothing: -5 points [-24, +12]."
    lost = compare_audits({"one": _audit("a" * 40), "two": _audit("a" * 20 + "b" * 20)})
    assert lost.sentences[1].startswith("It cost accuracy: -50 points [")


def test_small_slices_are_not_the_worst() -> None:
    found = compare_audits({"one": _audit("b" * 9 + "a" * 20, "s" * 9 + "g" * 20), "two": _audit("a" * 29)})
    assert next(each.score for each in found.differences if each.measure == "worst_slice").n == 20


def test_reliance_on_the_background_has_its_sentence() -> None:
    def leaning(lost: int) -> Audit:
        pictures = tuple(
            AuditedPicture(f"{at}.jpg", "a", "a", 0.9, {"accuracy:control": 1.0, "accuracy:random": float(at >= lost)})
            for at in range(50)
        )
        return replace(_audit("a"), pictures=pictures, n=50)

    found = compare_audits({"one": leaning(40), "two": leaning(5)})
    assert any(each.startswith("It relies less on the background: -70 points [") for each in found.sentences)


def test_the_page_lists_what_changed_and_hides_names() -> None:
    plain = example_audit()
    other = replace(plain, pictures=tuple(replace(each, predicted="pug") for each in plain.pictures))
    found = compare_audits({"one": plain, "<i>two</i>": other})
    text = " ".join(check_safe(audits_page(found, "both")).text.split())
    assert "Changed answers" in text
    assert found.sentences[0] in text
    assert "beagle_1.jpg" in text
    assert "beagle_1.jpg" not in audits_page(found, "both", anonymise=True)
    assert "Changed answers" not in audits_page(compare_audits({"a": plain, "b": plain}), "both")


# What is refused.


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (
            {"data": "other"},
            DataError,
            r"old is an audit of other pictures \(3 of pets\) than these 3: .* give the same",
        ),
        ({"regard": "0.0.9"}, DataError, "old was made by regard 0.0.9, and this is .* audit the network before again"),
        ({"regard": None}, DataError, "made by regard of a version that it does not name"),
    ],
)
def test_another_audit_is_refused(change: dict[str, Any], kind: Any, text: str) -> None:
    before = _audit("aab")
    check_before("old", before, "77c1", 3, None)
    with pytest.raises(kind, match=text):
        check_before("old", replace(before, provenance={**before.provenance, **change}), "77c1", 3, None)
    for audit, group in ((before, "animal"), (replace(before, settings={"group": "animal"}), None)):
        with pytest.raises(UsageError, match="audit both without --group"):
            check_before("old", audit, "77c1", 3, group)


# The command.


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = draw_pictures(tmp_path_factory.mktemp("before") / "data", each=5)
    with (folder / "index.csv").open("w", newline="") as file:
        rows = [(path.relative_to(folder), path.parent.name, f"half {at % 2}") for at, path in
                enumerate(sorted(folder.rglob("*.png")))]  # fmt: skip
        csv.writer(file).writerows([("filename", "label", "site"), *rows])
    return folder / "index.csv"


CLASSES = ("blue", "green", "grey", "red")


def _run(table: Path, network: Network, out: Path | None, **more: Any) -> Any:
    how = {"model": network, "methods": ["gradcam"], "slices": ["site"], "split": "all", "workers": 0}
    return regard.audit(table, out, **{**how, **more})


@pytest.fixture(scope="module")
def before(table: Path) -> Path:
    _run(table, tiny_network(CLASSES), table.parent.parent / "audited")
    return table.parent.parent / "audited"


def test_the_second_audit_says_what_changed(table: Path, before: Path, tmp_path: Path) -> None:
    again = _run(table, tiny_network(CLASSES, seed=3), tmp_path / "again", before=before)
    first, second = (read_audit(folder) for folder in (before, tmp_path / "again"))
    assert {each.slices["site"] for each in first.pictures} == {"half 0", "half 1"}
    count = sum(one.predicted != two.predicted for one, two in zip(first.pictures, second.pictures, strict=True))
    line = f"{count} of 20 answers changed from audited to this audit"
    assert count and any(each.startswith(line) for each in second.sentences)
    assert line in repr(again)
    stored = json.loads((tmp_path / "again" / "before.json").read_text(encoding="utf-8"))
    assert len(stored["changes"]) == count
    page = (tmp_path / "again" / "before.html").read_text(encoding="utf-8")
    assert page.count(f"<bdi>{line}") == 1  # between the columns, and not in one of them too
    assert line in (tmp_path / "again" / "report.html").read_text(encoding="utf-8")
    assert str(before.parent) not in (tmp_path / "again" / "before.html").read_text(encoding="utf-8")
    assert not any("answers changed" in each for each in first.sentences)


def test_the_same_network_again_has_not_changed(table: Path, before: Path) -> None:
    assert (
        "0 of 20 answers changed from audited to this audit."
        in _run(table, tiny_network(CLASSES), None, before=before).audit.sentences
    )


def test_other_pictures_are_refused_before_any_work(table: Path, before: Path, tmp_path: Path) -> None:
    rows = table.read_text().splitlines()
    fewer = table.with_name("fewer.csv")
    fewer.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(DataError, match=r"audited is an audit of other pictures \(20 of index\.csv\) than these 19"):
        _run(fewer, tiny_network(CLASSES), tmp_path / "again", before=before)
    assert not (tmp_path / "again").exists()


def test_what_is_no_audit_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing"):
        _run(table, tiny_network(CLASSES), None, before=tmp_path / "nothing")
