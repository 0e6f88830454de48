"""What an audit is about: methods, planted controls and maps from outside, as functions of batches of pictures."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regard.audit.pictures.outside import Array, Maker, MapBatch, maps_from
from regard.audit.settings import AuditSettings
from regard.data.dataset import Picture
from regard.errors import NetworkError, RegardError
from regard.explanation import DEFAULT_METHODS, METHODS, Maps, method_named
from regard.explanation.pictures.explain import at_precision_of
from regard.networks.cells import cells
from regard.networks.guard import lock_of
from regard.networks.network import Network
from regard.networks.randomised import randomised
from regard.predictors.method_options import MethodOptions, described
from regard.records.audits.verdicts import PLANTED, RANDOMISED

log = logging.getLogger("regard")


@dataclass(frozen=True)
class AuditedMethod:
    """A method, or a control, by its name in the audit; `settings` are what a verdict holds for.

    `cost` is in forwards a picture. `control` is one that is planted, or the method it is a randomised one of; ""
    for what is asked about.
    """

    name: str
    make: Maker
    settings: Mapping[str, Any]
    class_specific: bool = False
    signed: bool = False
    cost: float = 0.0
    control: str = ""

    def maps(self, batch: MapBatch) -> tuple[list[Array | None], dict[int, str]]:
        """The map of each picture, None where it failed; and by picture's index, what the failure was.

        A batch that fails is tried picture by picture, so that one picture takes none of the others with it.
        """
        try:
            return self._checked(self.make(batch))
        except (RegardError, ValueError, RuntimeError, ArithmeticError, LookupError, TypeError) as error:
            if len(batch) == 1:
                return [None], {0: (str(error).strip() or type(error).__name__).splitlines()[0]}
        maps: list[Array | None] = []
        failures: dict[int, str] = {}
        for index in range(len(batch)):
            values, failed = self.maps(batch.one(index))
            maps += values
            failures |= dict.fromkeys([index], failed[0]) if failed else {}
        return maps, failures

    def _checked(self, values: Array) -> tuple[list[Array | None], dict[int, str]]:
        failures = {
            index: "its map has no finite value" for index, each in enumerate(values) if not np.isfinite(each).any()
        }
        return [None if index in failures else each for index, each in enumerate(values)], failures


def audited_methods(
    network: Network, settings: AuditSettings, pictures: Sequence[Picture], sample: MapBatch
) -> tuple[list[AuditedMethod], dict[str, str]]:
    """The methods that the audit is about, their controls after them; and by method, why it cannot be asked here.

    `sample` is one of the pictures, on which each method is tried. Raises `NetworkError` where none
    of the methods that were named works with this network.
    """
    named = settings.methods or (() if settings.maps is not None else DEFAULT_METHODS)
    methods = [method_of(name, network) for name in named]
    outside = (
        []
        if settings.maps is None
        else [
            AuditedMethod(each.name, each.make, each.settings, class_specific=True, signed=each.signed)
            for each in maps_from(settings.maps, pictures, network)
        ]
    )
    skipped = {}
    for method in methods:
        try:
            method.make(sample)
        except NetworkError as error:
            if len(methods) == 1 and not outside:
                raise
            skipped[method.name] = str(error)
    methods = [method for method in methods if method.name not in skipped]
    if not methods and not outside:
        raise NetworkError(f"none of {', '.join(named)} works with {network.name}: {next(iter(skipped.values()))}")
    for name, why in skipped.items():
        log.info(f"{name} is left out: {why}")
    try:
        blank = randomised(network, settings.seed) if methods else None
    except NetworkError as error:
        skipped["controls on a randomised network"] = str(error)
        blank = None
    planted = [
        replace(method_of(name, network), control=name) if name in METHODS else constant(network)
        for name in PLANTED
        if name not in {method.name for method in methods}
    ]
    controls = (
        []
        if blank is None
        else [
            replace(method_of(method.name, blank), name=f"{RANDOMISED} {method.name}", control=method.name)
            for method in methods
        ]
    )
    return [*methods, *outside, *planted, *controls], skipped


def method_of(name: str, network: Network) -> AuditedMethod:
    """A row of METHODS with its defaults on a network. Raises `UsageError` for one that there is not."""
    row = method_named(name, "picture")
    options = MethodOptions()
    options.check(row)
    arguments = options.settings(row, network)
    function = METHODS.load(name)
    precise = at_precision_of(row, network)
    ours = function.__module__.startswith("regard.")

    def make(batch: MapBatch) -> Array:
        with lock_of(precise.module):
            if not row.class_specific:
                return values_of(function(precise, batch.pixels, **arguments))
            if ours:
                return values_of(function(precise, batch.pixels, **arguments, target=list(batch.targets)))
            parts = [  # a row from outside knows one target for all
                function(precise, batch.pixels[index : index + 1], **arguments, target=target)
                for index, target in enumerate(batch.targets)
            ]
            return np.concatenate([values_of(part) for part in parts])

    patches = int(np.prod(cells(network, network.blank())))
    samples = {"patch": patches, "patch and sample": patches * (options.samples or 8)}
    cost = row.cost * samples.get(row.cost_per, 1)
    about = {**described(row, arguments, network), "precision": precise.precision}
    return AuditedMethod(name, make, about, row.class_specific, row.signed, cost)


def values_of(result: Any) -> Array:
    """What a method gave, or the values of it."""
    return np.asarray(result.values if isinstance(result, Maps) else result, np.float32)


def constant(network: Network) -> AuditedMethod:
    """The control that calls every patch alike."""

    def make(batch: MapBatch) -> Array:
        return np.ones((len(batch), *cells(network, batch.pixels)), np.float32)

    return AuditedMethod("constant", make, {}, control="constant")
