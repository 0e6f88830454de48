"""What a request is refused with: a status, a line for a person, and when to come again."""

from regard.errors import RegardError


class RequestError(RegardError):
    """A request that cannot be answered as it is; `retry` is in how many seconds it may be."""

    def __init__(self, status: int, message: str, retry: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry = retry


def without_advice(error: RegardError) -> str:
    """A message of a picture, without the advice to those who read a folder of them."""
    return str(error).replace("replace it, remove it, or skip such with --skip-bad", "send another")
