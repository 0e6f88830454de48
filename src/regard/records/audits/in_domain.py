"""What an audit says of a copy of the network to which patches that are gone are nothing new."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from regard.records.audits.verdicts import Finding, Verdict, is_control, score_json
from regard.records.display import Readable, Rows, counted, few
from regard.records.scores import Score


@dataclass(frozen=True, repr=False)
class InDomain(Readable):
    """The verdicts on each method, and its SRG and single deletion, on a copy that was trained on `pictures` others
    with patches gone; single deletion is IDSDS then.

    `agreement` has, by measure, the rank correlation of methods between network and copy; `same` is the share of the
    audited pictures of which both say the same.

    >>> plain, other = (Verdict("Faithful?", "gradcam", {}, "3f9a", "77c1", status, "", 0.1, 0.0, 0.2, 74)
    ...                 for status in ("not decidable", "supported"))
    >>> second = InDomain((other,), (), {}, Score(0.97, 0.9, 0.99, 74), pictures=180)
    >>> second.differing((plain,))
    ('gradcam',)
    >>> InDomain.from_json(second.as_json()) == second
    True
    """

    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]
    agreement: Mapping[str, Score]
    same: Score
    pictures: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("verdicts", "findings"):
            object.__setattr__(self, name, Rows(getattr(self, name)))

    @property
    def by_method(self) -> dict[str, Verdict]:
        """The verdicts on methods, planted maps left out."""
        return {each.method: each for each in self.verdicts if not is_control(each.method)}

    def differing(self, verdicts: tuple[Verdict, ...]) -> tuple[str, ...]:
        """The methods on which the verdict here is another than among these."""
        here = self.by_method
        return tuple(
            each.method for each in verdicts if each.method in here and each.status != here[each.method].status
        )

    def finding(self, measure: str, subject: str) -> Finding | None:
        """What was measured of a method; None where nothing was."""
        return next((each for each in self.findings if (each.measure, each.subject) == (measure, subject)), None)

    def sentence(self, verdicts: tuple[Verdict, ...]) -> str:
        """How it compares with the `verdicts` on the network itself."""
        here = self.by_method
        pairs = [(each, here[each.method]) for each in verdicts if each.method in here]
        other = [f"of {one.method} it is {one.status!r} here and {two.status!r} there" for one, two in pairs
                 if one.status != two.status]  # fmt: skip
        share = f"{len(pairs) - len(other)} of {counted(len(pairs), 'verdict')}"
        order = self.agreement.get("srg")
        rank = "" if order is None else f"; the order of methods by SRG agrees by {order} in ranks"
        return (
            f"On a copy to which missing patches are nothing new, {share} {'is' if len(pairs) == 1 else 'are'} the "
            f"same{''.join(f'; {each}' for each in other)}{rank}."
        )

    def __str__(self) -> str:
        return few([f"a copy trained on {counted(self.pictures, 'picture')}", *map(str, self.verdicts)])

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        rows = {name: [each.as_json() for each in getattr(self, name)] for name in ("verdicts", "findings")}
        agreement = {name: score_json(each) for name, each in self.agreement.items()}
        about = {"pictures": self.pictures, "settings": dict(self.settings)}
        return {**about, **rows, "agreement": agreement, "same": score_json(self.same)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls(
            tuple(map(Verdict.from_json, stored["verdicts"])),
            tuple(map(Finding.from_json, stored["findings"])),
            {name: Score.from_json(each) for name, each in stored["agreement"].items()},
            Score.from_json(stored["same"]),
            stored["pictures"],
            stored["settings"],
        )
