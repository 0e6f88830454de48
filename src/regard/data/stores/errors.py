"""What a store answered, in one line for a person: without obstore's own text, in which signed addresses can stand."""

import re

from regard.errors import RegardError

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_SKIP_SIGNATURE=true for a public bucket; a profile of "
    '~/.aws: eval "$(aws configure export-credentials --format env)")',
    "gs": "GOOGLE_APPLICATION_CREDENTIALS (or GOOGLE_SKIP_SIGNATURE=true for a public bucket)",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN (or "
    "AZURE_SKIP_SIGNATURE=true for a public container)",
}
"""The variables that say who one is, by scheme."""
_METADATA = ("169.254.169.254", "/latest/api/token", "/latest/meta-data", "token request", "MissingAccount")
"""What obstore's text has where it had no credentials and asked the machine that it runs on for some."""


def is_missing(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or status(error) == 404


def is_conflict(error: Exception) -> bool:
    """Whether a conditional write was refused, in any of the ways in which stores do: 409, 412."""
    return type(error).__name__ in ("AlreadyExistsError", "PreconditionError") or status(error) in (409, 412)


def status(error: Exception) -> int | None:
    """The code that the server answered with; None where it did not answer."""
    codes = re.findall(r"status code: (\d{3})", str(error))
    return int(codes[-1]) if codes else None


def describe(error: Exception, address: str, kind: type[RegardError]) -> RegardError:
    """The error of one line, with advice."""
    text = str(error)
    code = status(error)
    variables = _CREDENTIALS.get(address.partition("://")[0])
    if is_missing(error):
        return kind(f"there is no {address}; check the address")
    if variables and any(sign in text for sign in _METADATA):
        return kind(f"{address}: no credentials for this store; set {variables}")
    if code in (401, 403) or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        advice = f"check what {variables} are allowed to do" if variables else "check who may read it"
        return kind(f"{address}: the store refuses it ({code or 403}); {advice}")
    if code is not None and (code >= 500 or code == 429):
        return kind(f"{address}: the store is busy or broken (it answered {code}, again and again); try again later")
    if code is not None:
        return kind(f"{address}: the store answered {code}; check the address")
    if type(error).__name__ in ("NotSupportedError", "NotImplementedError") or "not supported" in text:
        return kind(
            f"{address}: this server cannot do that (a part of a file, or a write on condition); copy the files to a "
            "disk, or use another store"
        )
    if "Invalid" in text and "key" in text.lower():
        return kind(f"{address}: the credentials have a form that cannot be used; check {variables or 'them'}")
    return kind(
        f"{address}: the store gave no whole answer in time (it is slow, or cannot be reached); check the address and "
        "the network, or try again later"
    )
