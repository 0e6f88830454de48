"""What comes in: a picture with settings, as a form or as JSON, read up to a limit, and refused in one clear line."""

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from regard.files import readable
from regard.jobs.pool.errors import RequestError
from regard.jobs.pool.settings import Settings
from regard.rendering.lettering import visible

FORM = "multipart/form-data"
FIELDS = 24
"""The most fields of a form."""


class Budget:
    """How many bytes of requests may be held at once, so that a flood of large ones does not fill the memory."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0


async def read_body(request: Request, limit: int, budget: Budget) -> bytes:
    """The body, read up to `limit` bytes, also where it comes in chunks without end. Raises `RequestError` for more."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit:
        raise _too_large(f"{int(length):,} bytes" if length.isdecimal() else "a strange length", limit)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            budget.bytes += len(part)
            if size > limit:
                raise _too_large(f"more than {limit:,} bytes", limit)
            if budget.bytes > budget.most:
                raise RequestError(429, "too many large pictures are being sent at once; come again in 5 seconds", 5)
            parts.append(part)
    finally:
        budget.bytes -= size
    return b"".join(parts)


def _too_large(content: str, limit: int) -> RequestError:
    megabytes = f"{limit / 1e6:,.0f} megabytes"
    return RequestError(
        413,
        f"the request has {content}; up to {megabytes} are read; send a smaller one, such as a JPEG of fewer pixels",
    )


async def read_picture(
    request: Request, kind: type[Settings], limit: int, budget: Budget
) -> tuple[dict[str, Any], bytes]:
    """The settings of a job, checked, and its picture. Raises `RequestError` for what is neither form nor JSON."""
    content_type = request.headers.get("content-type", "")
    body = await read_body(request, limit, budget)
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == FORM:
        fields, picture = await _form(request.headers, body)
    elif media_type == "application/json":
        fields, picture = _json(body)
    else:
        raise RequestError(
            415,
            f"the request came as {printable(media_type) or 'nothing in particular'}; a picture comes as {FORM} with "
            "a file `picture`, or as application/json with base64 in `picture`; set the Content-Type",
        )
    settings = checked(kind, fields)
    if picture is None:
        raise RequestError(
            422, "the request has no `picture`; it must be a file of the form, or base64 in the JSON; add it"
        )
    if not picture:
        raise RequestError(
            422, "the `picture` is empty (0 bytes); it must be the content of a picture's file; send one"
        )
    return settings, picture


def checked(kind: type[Settings], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a kind of job, with defaults. Raises `RequestError` that names the first that is wrong."""
    try:
        return kind.model_validate(dict(fields)).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"][:1])) or "the request"
        value = (
            f" came as {printable(repr(first['input']))}" if first["type"] not in ("missing", "extra_forbidden") else ""
        )
        names = ", ".join(kind.model_fields)
        why = first["msg"][:1].lower() + first["msg"][1:]
        advice = f"there are {names}" if first["type"] == "extra_forbidden" else "change it, or leave it out"
        raise RequestError(422, f"`{printable(place)}`{value}: {why}; {advice}") from None


async def _form(headers: Headers, body: bytes) -> tuple[dict[str, Any], bytes | None]:
    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(headers, once(), max_files=1, max_fields=FIELDS, max_part_size=1 << 16)
    parser.spool_max_size = len(body) + 1  # what is in memory stays there
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeError) as error:
        text = getattr(error, "message", "") or "its parts cannot be told apart"
        raise RequestError(
            400, f"the form is damaged ({printable(text)}); it must be {FORM} with its boundary, one file `picture` "
            f"and up to {FIELDS} fields; send it again"
        ) from None  # fmt: skip
    fields: dict[str, Any] = {}
    picture = None
    try:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                fields.update({name: value} if value else {})  # an empty field of a form is one that was left out
            elif name == "picture":
                picture = await value.read()
                # what it is called, in words: its last part, and never a path that anything is read from
                title = visible(readable(value.filename or "")).replace("\\", "/").rpartition("/")[2]
                fields.setdefault("name", title[:200].strip() or "picture")
            else:
                text = f"the file `{printable(name)}` is not known; the file of a form is called `picture`; rename it"
                raise RequestError(422, text)
    finally:
        await form.close()
    return fields, picture


def _json(body: bytes) -> tuple[dict[str, Any], bytes | None]:
    try:
        fields = json.loads(body)
        if not isinstance(fields, dict):
            raise ValueError(f"it is {type(fields).__name__}, no object")
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error))
        raise RequestError(
            400, f"the JSON cannot be read ({why}); it must be one object with base64 in `picture`; correct it"
        ) from None
    text = fields.pop("picture", None)
    if text is None:
        return fields, None
    try:
        if not isinstance(text, str):
            raise ValueError
        return fields, base64.b64decode(text.rpartition(",")[2] if text.startswith("data:") else text, validate=True)
    except (ValueError, binascii.Error):
        raise RequestError(
            422,
            "`picture` is no base64; it must be the bytes of a picture's file in base64; encode them, or send a form",
        ) from None


def printable(text: str) -> str:
    """A piece of what came, in a message: short, and without characters that act unseen."""
    text = visible(readable(text))
    return text if len(text) <= 80 else f"{text[:77]}..."
