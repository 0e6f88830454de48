"""What is fetched from the Hugging Face hub, and whether it can be reached, found out in seconds.

The hub's own client asks six times for each file and takes the better part of a minute to say that there is no
network. So it is asked once here, with a short timeout, before the client is let loose; nothing is changed for the
rest of the process. The client is imported late: a shipped or local network needs none of it, and it takes a while.
"""

import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from regard.errors import NetworkError

TIMEOUT = 5.0
"""Seconds to wait for an answer."""

OFFLINE = (
    "without a network there are: a run folder, a checkpoint file, a local Hugging Face folder, "
    "a timm or torchvision name with --weights FILE, or random:NAME for an untrained network"
)


def require_hub(what: str) -> None:
    """Raise `NetworkError` unless the Hugging Face hub answers (at once when HF_HUB_OFFLINE is set)."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise NetworkError(f"cannot fetch {what}: HF_HUB_OFFLINE is set; unset it, or {OFFLINE}")
    require(constants.ENDPOINT, what)


def require(address: str, what: str) -> None:
    """Raise `NetworkError` unless `address` answers; any answer, a refusal too, shows that there is a network."""
    request = urllib.request.Request(address, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return
    except (urllib.error.URLError, OSError) as error:
        if isinstance(getattr(error, "reason", error), ssl.SSLError):
            return  # it answered; whether its certificate is good is for the client to judge
        raise NetworkError(f"no network: cannot fetch {what}; {OFFLINE}") from error


def cached(repository: str, filenames: tuple[str, ...]) -> str | None:
    """The path of the first of `filenames` of a hub repository that was fetched before, or None."""
    import huggingface_hub

    for filename in filenames:
        path = huggingface_hub.try_to_load_from_cache(repository, filename)
        if isinstance(path, str):
            return path
    return None


def cached_folder(repository: str) -> Path | None:
    """The folder of a hub repository that was fetched before, or None. Raises `NetworkError` for what is no ID."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.snapshot_download(repository, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except (HFValidationError, OSError, ValueError) as error:
        raise NetworkError(
            f"{repository!r} is no ID of the Hugging Face hub; give hf:OWNER/NAME, or a local folder"
        ) from error


def fetch_folder(repository: str, patterns: Sequence[str]) -> Path:
    """The folder with a hub repository's files of these `patterns`. Raises `NetworkError`."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    model = f"hf:{repository}"
    require_hub(f"{model} from the Hugging Face hub")
    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=list(patterns)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise NetworkError(f"{model} could not be fetched: {reason}; check the ID, or your access to it") from error
