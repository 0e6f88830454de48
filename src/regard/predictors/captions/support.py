"""The words of a caption with their support: probability, kind, and of a doubtful word why, and which one rather."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from regard.explanation.words.checks.run import rows_of
from regard.explanation.words.finished import FinishedCaption
from regard.explanation.words.support.alternatives import alternatives_of, candidates_of
from regard.explanation.words.support.context import UNSUPPORTED, contexts
from regard.explanation.words.support.find import absence, other_maps, support_of
from regard.explanation.words.support.kinds import kinds_of
from regard.explanation.words.support.model import SupportModel
from regard.explanation.words.support.reasons import reasons_of
from regard.explanation.words.tagging import parts_of_speech
from regard.networks.captioners.base import CaptionNetwork
from regard.predictors.captions.options import CaptionOptions
from regard.records.captions import Word, WordSupport


@dataclass(frozen=True)
class CaptionSupport:
    """The `model` of a network's words, or None and the sentence `absence` that says why; `aligned` captions are given
    ones. `unlike` says in sentences how these captions differ from those that it was measured on."""

    model: SupportModel | None
    absence: str
    aligned: bool
    unlike: str = ""

    @classmethod
    def of(cls, network: CaptionNetwork, options: CaptionOptions, aligned: bool) -> Self:
        """Raises `DataError` or `UsageError` for a file that does not hold a model of this network."""
        model = support_of(network, options.support)
        if model is None:
            return cls(None, absence(network), aligned)
        why = other_maps(network, options.capture(network), options.row) or _unmeasured(model, options, aligned)
        return cls(model if why is None else None, why or "", aligned, _unlike(options, aligned))

    @property
    def settings(self) -> dict[str, Any]:
        """What it was measured on, or why there is none, as JSON."""
        if self.model is None:
            return {"none": self.absence}
        return self.model.summary(aligned=self.aligned) | ({"unlike": self.unlike} if self.unlike else {})

    def words(
        self, words: Sequence[Word], finished: FinishedCaption, unknown: Sequence[str], ended: bool
    ) -> tuple[Word, ...]:
        """Words that have checks with their support; those that claim nothing have none, and such as the network could
        not read. `unknown` are words that its vocabulary lacks; `ended` is false of a caption cut at the limit."""
        checked = [word for word in words if word.checks is not None]
        if self.model is None or not checked:
            return tuple(words)
        texts = [word.text for word in checked]
        kinds = kinds_of(texts, [word.part_of_speech for word in checked])
        around = contexts(texts, prompt=finished.prompt, unknown=unknown, finished=ended)
        columns = {name: [_value(word.checks, name) for word in checked] for name in self.model.checks}
        probabilities = self.model.probabilities(columns, kinds, aligned=self.aligned)
        supported = [
            None if kind == "other" or context in UNSUPPORTED else WordSupport(float(probability), kind)
            for kind, context, probability in zip(kinds, around, probabilities, strict=True)
        ]
        doubtful = {place for place, support in enumerate(supported) if support is not None and support.is_doubtful}
        if doubtful:
            contributions = self.model.contributions(columns, kinds, aligned=self.aligned)
            candidates = candidates_of(finished, kinds, doubtful)
            better = alternatives_of(candidates, aligned=self.aligned)
            for place, listed in enumerate(candidates):
                rival, lead = (listed[0].text, listed[0].likelier) if listed else (None, 0.0)
                weights = {name: float(values[place]) for name, values in contributions.items()}
                checks = checked[place].checks or {}
                reasons = reasons_of(checks, context=around[place], rival=rival, lead=lead, contributions=weights)
                support = supported[place]
                if support is not None and place in doubtful:
                    supported[place] = replace(support, reasons=reasons, alternative=better[place])
        supports = iter(supported)
        return tuple(word if word.checks is None else replace(word, support=next(supports)) for word in words)


def _unmeasured(model: SupportModel, options: CaptionOptions, aligned: bool) -> str | None:
    """Why a model cannot be asked about such captions, or by checks of this level; None where it can."""
    if not model.speaks_of(aligned=aligned):
        sorts = ("captions that are given", "captions that the network makes itself")
        of, other = sorts if aligned else sorts[::-1]
        return f"it was measured on {other}, not on {of}; these are raw checks"
    lacking = [name for name in model.checks if name not in {row.name for row in rows_of(options.check or "quick")}]
    if lacking:
        return f"it goes by {', '.join(lacking)} too, which --check {options.check} does not give"
    return None


def _unlike(options: CaptionOptions, aligned: bool) -> str:
    """How captions differ from those that every model is measured on; "" where they do not."""
    how = ["without a prompt"] * bool(options.prompt) + ["with one beam"] * (options.beams > 1 and not aligned)
    unlike = [f"It was measured {' and '.join(how)}."] * bool(how)
    if parts_of_speech(["cat"]) == [None]:
        unlike.append(
            "No tagger is installed (the extra `words`): words that are none of drawn scenes have no support."
        )
    return " ".join(unlike)


def _value(checks: Mapping[str, float] | None, name: str) -> float:
    return float("nan") if checks is None else checks.get(name, float("nan"))
