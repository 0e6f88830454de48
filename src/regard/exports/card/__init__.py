"""The model card of an export: what its evaluation and its audit say, for someone who has never seen the run.

Markdown with the front matter of the Hugging Face hub. What was not measured is said to be so; no path of a machine, no
picture and no picture's name stands in it, and names of classes and slices are escaped.
"""

from typing import TYPE_CHECKING, Any

from regard.exports.card.front import front_matter
from regard.exports.card.markdown import bullets, code, escaped, facts, joined, pictures, share
from regard.exports.card.origin import class_names, preparation_text, training_section, what_it_is
from regard.exports.card.scores import classes_section, scores_section, worst_of
from regard.exports.card.subject import Subject
from regard.exports.card.trust import RELIANCE, fooled_section, maps_section, open_section, reliance, reliance_section
from regard.exports.card.use import limits_section, use_section

if TYPE_CHECKING:
    from regard.exports.source import ExportSource

INTERVALS = (
    "Numbers in brackets are 95 % intervals: what the number could be on other pictures of the same kind. The fewer "
    "pictures, the wider."
)


BELIEF = {
    "those of": ("supported",),
    "not those of": ("contradicted", "no better than a control"),
    "not known of": ("not decidable",),
}
"""What the first lines say of methods, by the status of their verdicts."""
AUTHOR = (
    "What kind of pictures it was made for and trained on (photographs, drawings, scans), and what it is meant to do.",
    "Where its pictures come from, under which licence they are, and whether the people on them agreed.",
    "Who made it, when, whom to ask, and whether it will be looked after.",
)
"""What no file of a run knows."""


def card(source: "ExportSource", kind: str = "") -> str:
    """The card of what is exported; `kind` is a name of EXPORTS, by which it says how the export is used."""
    subject = Subject.of(source)
    sections = {
        "In short": bullets(_short(subject)),
        "What it takes and gives": facts(_interface(subject)),
        "What it was trained on": training_section(subject),
        "How often it is right": scores_section(subject) + (f"\n\n{INTERVALS}" if subject.scores is not None else ""),
        "Each class": classes_section(subject),
        "What it relies on": reliance_section(subject),
        "Which map of it to believe": maps_section(subject),
        "Where it is fooled": fooled_section(subject),
        "What was not decided or not measured": open_section(subject),
        "How to use it": use_section(subject, kind),
        "What not to use it for": limits_section(subject),
        "What only its author can say": f"No run records these; write the answers here.\n\n{bullets(AUTHOR)}",
        "Where this comes from": facts(_provenance(subject)),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"{front_matter(subject, kind)}\n\n# {escaped(subject.name)}\n\n{what_it_is(subject)}\n\n{body}\n"


def _short(subject: Subject) -> list[str]:
    parts = []
    name = "other data" if subject.audit is None else subject.audit.provenance.get("data_name", "other data")
    for evaluation, where in ((subject.evaluation, "set aside in training"), (subject.audited, f"of {code(name)}")):
        score = None if evaluation is None else evaluation.scores.get("top1", evaluation.scores.get("exact_match"))
        if evaluation is not None and score is not None:
            note = f" ({escaped(evaluation.note)})" if evaluation.note else ""
            parts.append(f"right on {share(score)} of {pictures(evaluation.n)} {where}{note}")
    worst = None if subject.scores is None else worst_of(subject.scores)
    if worst is not None:
        parts.append(f"on the worst slice, {code(worst.column)} {code(worst.value)}, on {share(worst.top1)}")
    answer = reliance(subject)
    methods = {status: [code(each.method) for each in subject.verdicts if each.status in statuses]
               for status, statuses in BELIEF.items()}  # fmt: skip
    maps = [f"{words} {joined([*dict.fromkeys(names)])}" for words, names in methods.items() if names]
    audited = "its maps audited, the rest not" if subject.verdicts else "never audited"
    if subject.audit is not None:
        audited = "audited"
    return [
        f"**How good:** {'; '.join(parts) or 'never measured'}.",
        f"**What it relies on:** {RELIANCE[answer].replace('**', '') if answer else 'not measured.'}",
        f"**Which heat maps to believe:** {'; '.join(maps) or 'not measured'}.",
        f"**State of this card:** {'never evaluated' if subject.scores is None else 'evaluated'}, {audited}.",
    ]


def _interface(subject: Subject) -> list[tuple[str, str]]:
    answer = "a probability for each class; they sum to 1"
    if subject.several:
        answer = "a probability for each label, each of its own"
    if subject.classes is None:
        answer = "outputs without names"
    return [
        ("Takes", "one picture, of any size"),
        ("Prepared as", preparation_text(subject)),
        ("Gives", answer),
        ("Classes", class_names(subject)),
        ("Architecture", code(subject.architecture)),
        ("Licence", subject.licence or "not known to regard"),
    ]


def _provenance(subject: Subject) -> list[tuple[str, str]]:
    origin = subject.provenance
    audit: Any = {} if subject.audit is None else subject.audit.provenance
    scored: Any = {} if subject.evaluation is None else subject.evaluation.provenance
    chosen = {} if subject.audit is None else subject.audit.settings
    settings = ", ".join(
        f"{name} {value}" for name, value in chosen.items() if value is not False and value not in (None, [])
    )
    versions = [f"{name} {origin[name]}" for name in ("regard", "torch", "timm", "python") if name in origin]
    return [
        ("Weights, SHA-256", code(origin.get("weights_sha256", "unknown"))),
        ("Network with its preparation", code(subject.digest)),
        ("Exported by", escaped(", ".join(versions))),
        ("Scored by", _version(scored)),
        ("Audited by", _version(audit)),
        ("Pictures of the audit", code(audit["data"]) if "data" in audit else ""),
        ("Settings of the audit", code(settings) if settings else ""),
        ("This card", "written by `regard export` from what is stored of the run; nothing in it was typed by hand"),
    ]


def _version(provenance: Any) -> str:
    version = f"regard {provenance.get('regard')}, torch {provenance.get('torch', 'unknown')}"
    return escaped(version) if "regard" in provenance else ""
