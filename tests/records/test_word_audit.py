"""An audit of words as a record: it comes back as it was, and says of each claim what all evidence says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from word_audits import PARTS, example_word_audit, verdict

from regard.records import WordAudit, WordClaim
from regard.results.word_audits import read_word_audit, write_word_audit


def test_an_audit_of_words_comes_back_from_json_and_from_its_folder(tmp_path: Path) -> None:
    audit = replace(example_word_audit(), support={"version": 1})
    stored = json.loads(json.dumps(audit.as_json(), allow_nan=False))
    assert WordAudit.from_json(stored, audit.words) == audit
    write_word_audit(tmp_path, audit)
    assert read_word_audit(tmp_path) == audit
    assert json.loads((tmp_path / "support.json").read_text()) == {"version": 1}


@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        (("supported", "supported"), "supported"),
        (("supported", "contradicted"), "contradicted"),
        (("no better than a control", "contradicted"), "contradicted"),
        (("supported", "no better than a control"), "no better than a control"),
        (("no better than a control", "not decidable"), "no better than a control"),
        (("supported", "not decidable"), "not decidable"),
        (("supported",), "supported"),
    ],
)
def test_a_claim_is_supported_by_all_evidence_or_not_at_all(statuses: tuple[str, ...], together: str) -> None:
    verdicts = tuple(replace(verdict("nouns", "right", "map"), status=status) for status in statuses)
    assert WordClaim("nouns", "right", verdicts).status == together


def test_claims_stand_in_their_order_with_right_words_before_wrong_ones() -> None:
    audit = example_word_audit()
    assert [(each.claim, each.words) for each in audit.claims] == list(
        dict.fromkeys((claim, words) for claim, words, _ in PARTS)
    )
    shuffled = replace(audit, verdicts=audit.verdicts[::-1])
    assert [(each.claim, each.words) for each in shuffled.claims] == [(each.claim, each.words) for each in audit.claims]
    claim = audit.claim("verbs", "right")
    assert claim is not None and claim.status == "contradicted"
    assert audit.claim("verbs", "wrong") is None
    assert "  by removal: no better than a control: " in audit.text
