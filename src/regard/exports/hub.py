"""An export pushed to the Hugging Face hub, in one commit, with the card as the repository's README.md."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from regard.errors import NetworkError, OutputError, UsageError
from regard.networks.sources.hub import TIMEOUT, require
from regard.version import __version__

if TYPE_CHECKING:
    from regard.exports.source import ExportSource

CARD = "README.md"
"""The card, as a file beside or inside whatever is exported."""
_RETRY = "the export itself is whole, at {}; give --push-to again with --overwrite, or upload that by `hf upload`"
_REASONS = {
    401: "the token is not valid; log in again: `hf auth login`, or set HF_TOKEN",
    403: "the token may not write there; give an OWNER that it may write to, with a token of the kind 'write'",
    404: "there is no such owner; check OWNER",
}


def check_push(repository: str) -> None:
    """Raise, before any work, what would stop a push: `UsageError` for what is no OWNER/NAME and where there is no
    token, `NetworkError` where the hub cannot be reached."""
    from huggingface_hub import constants, get_token

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]{0,95}", repository):
        raise UsageError(f"--push-to is {repository!r}; give OWNER/NAME, as the hub's addresses have it")
    if constants.HF_HUB_OFFLINE:
        raise NetworkError(
            f"cannot push to {repository}: HF_HUB_OFFLINE is set; unset it, or leave --push-to out and upload later"
        )
    if get_token() is None:
        raise UsageError(
            f"cannot push to {repository}: there is no token of the hub; log in by `hf auth login`, or set HF_TOKEN "
            "(a token of the kind 'write')"
        )
    try:
        require(constants.ENDPOINT, repository)
    except NetworkError as error:
        raise NetworkError(
            f"cannot push to {repository}: no network, the hub does not answer within {TIMEOUT:g} s; leave --push-to "
            "out, and upload later by `hf upload`"
        ) from error


def push(source: "ExportSource", kind: str, out: Path, repository: str) -> str:
    """Upload what stands at `out`, a file or a folder, in one commit; the address of the repository.

    One that is not there is made, private: whoever pushed it decides who sees it. Raises `OutputError` where the hub
    refuses; the export at `out` stays.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    files: dict[str, str | bytes] = {out.name: str(out)}
    if out.is_dir():
        files = {each.relative_to(out).as_posix(): str(each) for each in sorted(out.rglob("*")) if each.is_file()}
    files.setdefault(CARD, source.card(kind).encode())
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    api = HfApi(library_name="regard", library_version=__version__)
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        api.create_commit(repository, operations, commit_message=f"{source.name}, exported by regard as {kind}")
    except (HfHubHTTPError, OSError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = _REASONS.get(status or 0) or (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise OutputError(f"{repository} was not pushed: {reason}; {_RETRY.format(out)}") from error
    return f"{api.endpoint}/{repository}"
