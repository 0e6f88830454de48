"""The support model: from a word's checks and its kind to the probability that the picture supports it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.files import SCHEMA
from regard.records.scores import Score

Floats = NDArray[np.float64]
ALL = "all"
"""In place of a kind: all content words, and the coefficients that every kind has in common."""


@dataclass(frozen=True)
class SupportScore:
    """How well probabilities tell `n_right` right words from `n_wrong` wrong ones, of so many `units` (sentences).

    `auroc` is the share of pairs of a right and a wrong word in which the right one has more; `calibration_error` the
    expected calibration error of 15 bins. Intervals are of 95 % and draw units again; NaN where it is not defined.
    """

    n_right: int
    n_wrong: int
    units: int
    auroc: Score
    calibration_error: Score

    def as_json(self) -> dict[str, Any]:
        return {
            "n_right": self.n_right,
            "n_wrong": self.n_wrong,
            "units": self.units,
            "auroc": {**self.auroc.as_json(), "n": self.auroc.n},
            "calibration_error": {**self.calibration_error.as_json(), "n": self.calibration_error.n},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        counts = (stored[name] for name in ("n_right", "n_wrong", "units"))
        return cls(*counts, *(Score.from_json(stored[name]) for name in ("auroc", "calibration_error")))


@dataclass(frozen=True)
class SupportModel:
    """A logistic regression over standardised `checks`, whose coefficients a kind of word has in part of its own.

    A check is brought to (value - `centre`) / `scale` and cut at ±`cut`; one that is missing counts as its centre.
    `coefficients` (checks + 1,), the intercept first, are by kind, those that all have in common included; a kind that
    had too few has those of "all". Captions that are given, and `aligned`, have coefficients of their own, fitted to
    planted errors, where there were enough of them. `measured` has the scores of out-of-fold probabilities, by kind and
    of "all", on the captioner's own errors, `planted` those on exchanged words; `errors` says whose `coefficients` and
    `measured` are where there were none of its own ("planted"). `networks` are the hashes of the weights that it was
    fitted and measured on, `data` says in a few words on what, `version` is regard's.
    """

    checks: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: Mapping[str, tuple[float, ...]]
    aligned: Mapping[str, tuple[float, ...]]
    measured: Mapping[str, SupportScore]
    planted: Mapping[str, SupportScore]
    networks: tuple[str, ...]
    data: str
    version: str
    cut: float = 4.0
    errors: str = "natural"

    def speaks_of(self, *, aligned: bool) -> bool:
        """Whether it was measured on such captions: on given ones (`aligned`), or on those that the network made. What
        is wrong in the ones is told by other numbers than what is wrong in the others."""
        return bool(self.aligned) if aligned else self.errors == "natural"

    def probabilities(self, checks: Mapping[str, Any], kinds: Sequence[str], *, aligned: bool = False) -> Floats:
        """(words,) from 0 to 1, of `checks` (words,) each, by name, and the words' kinds; NaN for `other` words, which
        claim nothing. Checks that are not named, and NaN, count as missing. `aligned`: of given captions."""
        parts, intercepts = self._parts(checks, kinds, aligned)
        probabilities = 1 / (1 + np.exp(-(intercepts + parts.sum(1))))
        claims = np.array([kind != "other" for kind in kinds], bool)
        return np.asarray(np.where(claims, probabilities, np.nan), np.float64)

    def contributions(
        self, checks: Mapping[str, Any], kinds: Sequence[str], *, aligned: bool = False
    ) -> dict[str, Floats]:
        """(words,) of each check: what it adds to the log-odds of a word over those of its centre; negative where it
        speaks against the word."""
        return dict(zip(self.checks, self._parts(checks, kinds, aligned)[0].T, strict=True))

    def _parts(self, checks: Mapping[str, Any], kinds: Sequence[str], aligned: bool) -> tuple[Floats, Floats]:
        """(words, checks) of the log-odds, and the intercepts (words,)."""
        missing = np.full(len(kinds), np.nan)
        rows = [np.asarray(checks.get(name, missing), np.float64) for name in self.checks]
        columns = np.stack(rows, axis=-1) if rows else np.zeros((len(kinds), 0))
        columns = standardised(columns, np.asarray(self.centre), np.asarray(self.scale), self.cut)
        coefficients = self.aligned if aligned and self.aligned else self.coefficients
        weights = np.array([coefficients.get(kind, coefficients[ALL]) for kind in kinds], np.float64)
        weights = weights.reshape(len(kinds), len(self.checks) + 1)
        return columns * weights[:, 1:], weights[:, 0]

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "kind": "support",
            **{name: list(getattr(self, name)) for name in ("checks", "centre", "scale", "networks")},
            "cut": self.cut,
            "coefficients": {kind: list(values) for kind, values in self.coefficients.items()},
            "aligned": {kind: list(values) for kind, values in self.aligned.items()},
            "measured": {kind: score.as_json() for kind, score in self.measured.items()},
            "planted": {kind: score.as_json() for kind, score in self.planted.items()},
            "errors": self.errors,
            "data": self.data,
            "version": self.version,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave. Raises `KeyError` or `TypeError` for something else."""
        measured, planted = (
            {kind: SupportScore.from_json(score) for kind, score in stored[name].items()}
            for name in ("measured", "planted")
        )
        return cls(
            checks=tuple(stored["checks"]),
            centre=tuple(stored["centre"]),
            scale=tuple(stored["scale"]),
            coefficients={kind: tuple(values) for kind, values in stored["coefficients"].items()},
            aligned={kind: tuple(values) for kind, values in stored["aligned"].items()},
            measured=measured,
            planted=planted,
            networks=tuple(stored["networks"]),
            data=stored["data"],
            version=stored["version"],
            cut=stored["cut"],
            errors=stored.get("errors", "natural"),
        )

    def summary(self, *, aligned: bool = False) -> dict[str, Any]:
        """What a result says of the probabilities that it has: on what they were measured, and how well, of `n` words
        together and by kind. `aligned`: of captions that were given."""
        measured = self.planted if aligned and self.aligned else self.measured
        together = measured[ALL]
        return {
            "data": self.data,
            "errors": "planted" if measured is self.planted else self.errors,
            "n": together.n_right + together.n_wrong,
            "auroc": together.auroc.as_json(),
            "calibration_error": together.calibration_error.as_json(),
            "measured": {kind: score.as_json() for kind, score in measured.items()},
            "networks": list(self.networks),
            "version": self.version,
        }


def standardised(values: Floats, centre: Floats, scale: Floats, cut: float) -> Floats:
    """Checks (words, checks) around their centre (checks,), cut at ±`cut` scales; what is missing becomes 0."""
    return np.nan_to_num(np.clip((values - centre) / scale, -cut, cut), nan=0.0)
