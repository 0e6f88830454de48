"""Answers: JSON that any reader takes, and refusals in one line."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from regard.files import json_text


class Json(JSONResponse):
    """JSON; a byte of a file's name that is no character is written as JSON has it, and there is no NaN."""

    def render(self, content: Any) -> bytes:
        return json_text(content).encode()


def refusal(status: int, message: str, retry: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": ...}`: what was wrong, what came, what is allowed, what to do."""
    more = {} if retry is None else {"retry-after": str(retry)}
    return Json({"error": message}, status, {**more, **(headers or {})})
