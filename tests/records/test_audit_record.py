"""An audit as a record: it comes back from JSON and from a folder as it was, and says what it is in words."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audits import example_audit

from regard.errors import DataError
from regard.records import Audit, AuditedPicture, Finding, Score
from regard.results.audits import read_audit, write_audit


def test_an_audit_comes_back_from_json_as_it_was() -> None:
    audit = example_audit()
    stored = json.loads(json.dumps(audit.as_json(), allow_nan=False))
    assert Audit.from_json(stored, audit.pictures) == audit
    assert Audit.from_json(stored).findings[0].score.label == "Accuracy"


def test_what_is_not_a_number_is_null_in_json_and_comes_back() -> None:
    nowhere = Score(math.nan, math.nan, math.nan, 0, note="no region")
    finding = Finding("localisation", "energy", "attention", nowhere)
    stored = json.loads(json.dumps(finding.as_json(), allow_nan=False))
    assert stored["score"]["value"] is None and stored["baseline"] is None
    assert math.isnan(Finding.from_json(stored).score.low)
    verdict = replace(example_audit().verdicts[0], value=math.nan, low=-math.inf, high=math.inf)
    assert json.loads(json.dumps(verdict.as_json(), allow_nan=False))["high"] is None


def test_an_audit_comes_back_from_its_folder(tmp_path: Path) -> None:
    audit = example_audit()
    audit = replace(
        audit, pictures=(*audit.pictures, AuditedPicture("last.jpg", "", "pug", 0.5)), examples=audit.examples
    )
    write_audit(tmp_path, audit)
    again = read_audit(tmp_path)
    assert again == audit
    assert [each.method for each in again.examples] == [each.method for each in audit.examples]
    np.testing.assert_array_equal(again.examples[0].maps, audit.examples[0].maps)
    assert again.pictures[-1].right is None and again.pictures[-1].numbers == {}


def test_an_unfinished_or_damaged_folder_is_refused(tmp_path: Path) -> None:
    write_audit(tmp_path, example_audit())
    (tmp_path / "audit.json").write_text('{"n": 3}', encoding="utf-8")
    with pytest.raises(DataError, match="audit again"):
        read_audit(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match="not a finished result"):
        read_audit(tmp_path)


def test_a_verdict_holds_for_its_model_and_settings_alone() -> None:
    verdict = example_audit().verdict("attention")
    assert verdict is not None
    assert verdict.holds_for("attention", {"layer": 11}, verdict.model)
    assert not verdict.holds_for("attention", {"layer": 10}, verdict.model)
    assert not verdict.holds_for("attention", {"layer": 11}, "another")
    assert not verdict.holds_for("rollout", {"layer": 11}, verdict.model)


def test_findings_are_found_by_part_measure_subject_and_condition() -> None:
    audit = example_audit()
    assert {each.measure for each in audit.of("faithfulness", "srg")} == {"srg"}
    found = audit.finding("srg", "rollout", "blur")
    assert found is not None and found.score.value == pytest.approx(0.195)
    assert audit.finding("srg", "nothing") is None


def test_an_audit_reads_as_its_sentences_and_verdicts() -> None:
    text = repr(example_audit())
    assert text.startswith("74 pictures\nOn these pictures the map of libra_fullgrad_plus can be believed")
    assert "gradcam failed on 1 picture: its map is not finite (beagle_3.jpg)" in text
    assert "left out: ceiling: it is measured" in text
    assert "method" in repr(example_audit().verdicts).splitlines()[0]
