"""The support model that was measured on this very network, where there is one, or why there is none."""

from pathlib import Path

from regard.errors import DataError, UsageError
from regard.explanation.words import ROWS
from regard.explanation.words.support.model import SupportModel
from regard.files import read_json, reading
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork

FILE = "support.json"
"""Its name beside the weights of a network: shipped, in the folder of a run, or of a downloaded network."""
_ADVICE = "fit one with `regard audit DATA --model NETWORK`, or give another file"


def support_of(network: CaptionNetwork, file: Path | str | None = None) -> SupportModel | None:
    """The support model of this network: of `file`, or that which lies in the network's own folder; None where there
    is none, or that was measured on other weights (`absence` says which).

    Raises `DataError` for a file that holds none, and `UsageError` for a given one that speaks of another network.
    """
    if file is None:
        place = _place(network)
        model = None if place is None else read_support(place)
        return model if model is not None and network.weights_hash() in model.networks else None
    model = read_support(file)
    if network.weights_hash() not in model.networks:
        raise UsageError(
            f"{file} was measured on {len(model.networks)} other network{'s' if len(model.networks) != 1 else ''}, not "
            f"on {network.name}; {_ADVICE}"
        )
    return model


def absence(network: CaptionNetwork) -> str:
    """Why there is no support model of a network, in a sentence."""
    if _place(network) is None:
        return f"which of its words are wrong has not been measured on {network.name}; these are raw checks"
    return f"the {FILE} beside {network.name} was measured on other weights; these are raw checks"


def other_maps(network: CaptionNetwork, capture: Capture, row: str) -> str | None:
    """Why a model cannot be asked where words have other maps than those that it was measured on, of the last layer,
    the mean over heads, in the row that predicts the word; None where they have these."""
    usual = {"layer": capture.layer == network.layers - 1, "head": capture.head == "mean", "row": row == ROWS[0]}
    others = [f"--{name}" for name, same in usual.items() if not same]
    if not others:
        return None
    return f"it was measured on other maps than {' and '.join(others)} make{'s' if len(others) == 1 else ''}"


def read_support(file: Path | str) -> SupportModel:
    """The support model in a file. Raises `DataError` for another file."""
    file = Path(file)
    if not file.is_file():
        raise DataError(f"{file} is no file that holds a support model; {_ADVICE}")
    stored = read_json(file, _ADVICE)
    if stored.get("kind") != "support":
        raise DataError(f"{file} holds no support model; {_ADVICE}")
    with reading(file, _ADVICE):
        return SupportModel.from_json(stored)


def _place(network: CaptionNetwork) -> Path | None:
    """The file beside a network's weights, if there is one."""
    place = None if network.folder is None else network.folder / FILE
    return place if place is not None and place.is_file() else None
