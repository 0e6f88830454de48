"""What the server answers: JSON, pages of it, and pictures. A request with a picture becomes a job of the pool."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from regard.app.server.answers import Json, refusal
from regard.app.server.options import ServerOptions
from regard.app.server.pages import columns, docs_page, live_page, run_page
from regard.app.server.requests import FORM, Budget, checked, printable, read_picture
from regard.errors import RegardError, unknown
from regard.explanation import METHODS
from regard.files import json_text, readable
from regard.jobs.pool.errors import RequestError
from regard.jobs.pool.pool import Pool
from regard.jobs.pool.runs import SIDES, ServedRun, Thumbnails
from regard.jobs.pool.settings import KINDS
from regard.records.inspection.packing import as_twin, unpack
from regard.version import __version__

log = logging.getLogger("regard")

MOST_BYTES = 512_000_000
"""Bytes of pictures that are on their way in at once."""
STREAM = "text/event-stream"
PACKED = "application/vnd.regard.inspection"

ABOUT = """Classes, maps and captions of pictures by the models that this server was started with. A picture comes as a
form (`curl -F picture=@cat.jpg -F method=legrad ADDRESS/api/explain`) or as JSON with base64 in `picture`. Where the
request accepts `text/event-stream`, the stages of the work come first and the answer last. Who hangs up cancels."""


class Refusal(BaseModel):
    """What was wrong, what came, what is allowed, what to do."""

    error: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The form or JSON cannot be read."},
    404: {"model": Refusal, "description": "There is no such model, run or picture."},
    413: {"model": Refusal, "description": "The request is larger than is read."},
    415: {"model": Refusal, "description": "It is neither a form nor JSON."},
    422: {"model": Refusal, "description": "A setting does not fit, or the picture is none."},
    429: {"model": Refusal, "description": "Too many wait already; Retry-After says when to come again."},
    503: {"model": Refusal, "description": "It took too long, or the server is stopping."},
}


class Site:
    """All that the answers are made of."""

    def __init__(self, options: ServerOptions, pool: Pool, runs: Mapping[str, ServedRun]) -> None:
        self.options = options
        self.pool = pool
        self.runs = runs
        self.budget = Budget(MOST_BYTES)
        self.thumbnails = Thumbnails()

    def model(self, name: str | None, kind: str) -> str:
        """The model that a job is media_type to. Raises `RequestError` for one that the server does not have."""
        names = [each["name"] for each in self.pool.models]
        if name is not None and name not in names:
            raise RequestError(
                404, f"{unknown('model', printable(name), names)} Only those load that the server was started with."
            )
        if name is not None:
            return name
        fitting = [each["name"] for each in self.pool.models if each["task"] in KINDS[kind][1]]
        if not fitting:
            raise RequestError(
                404, f"no model of this server can {kind}; it has {', '.join(names)}; start it with one that can"
            )
        return str(fitting[0])

    def run(self, name: str) -> ServedRun:
        if name not in self.runs:
            raise RequestError(404, str(unknown("run", printable(name), self.runs)))
        return self.runs[name]

    async def answered(self, request: Request, kind: str, settings: dict[str, Any], picture: bytes) -> Response:
        """Have a job done, and answer as the request accepts it; whoever hangs up cancels it."""
        name = readable(settings.pop("name"))
        header = {"kind": kind, "model": self.model(settings.pop("model"), kind), "name": name, "settings": settings}
        stages: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        job = asyncio.create_task(self.pool.run(header, picture, stages.put_nowait))
        if STREAM in request.headers.get("accept", ""):
            await asyncio.sleep(0)
            if job.done():  # refused at once
                await job
            job.add_done_callback(lambda task: stages.put_nowait(None))
            return StreamingResponse(_events(job, stages, kind), media_type=STREAM)

        async def hung_up() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        gone = asyncio.create_task(hung_up())
        try:
            await asyncio.wait([job, gone], return_when=asyncio.FIRST_COMPLETED)
            if not job.done():
                return refusal(499, "the client has gone")  # nobody reads it
            answer, body = job.result()
            if kind != "inspect":
                return Json(answer)
            if PACKED in request.headers.get("accept", ""):
                return Response(body, media_type=PACKED)
            return Json({**answer, "inspection": as_twin(*unpack(body))})
        finally:
            gone.cancel()
            job.cancel()


async def _events(job: "asyncio.Task[Any]", stages: "asyncio.Queue[Any]", kind: str) -> AsyncIterator[str]:
    """The stages of a job as they come, then its answer or why there is none."""
    try:
        yield _event("stage", {"stage": "waiting", "done": 0, "total": 0})
        while (stage := await stages.get()) is not None:
            yield _event("stage", {key: stage[key] for key in ("stage", "done", "total")})
        answer, body = job.result()
        packed = {"inspection": base64.b64encode(body).decode("ascii")} if kind == "inspect" else {}
        yield _event("answer", {**answer, **packed})
    except RequestError as error:
        yield _event("error", {"status": error.status, "error": str(error)})
    finally:
        job.cancel()


def _event(name: str, content: Any) -> str:
    return f"event: {name}\ndata: {json_text(content)}\n\n"


def _takes(kind: str) -> dict[str, Any]:
    """How OpenAPI describes a request with a picture: a form, or JSON."""
    fields = KINDS[kind][0].model_json_schema()["properties"]
    file = {"type": "string", "format": "binary", "description": "The picture's file."}
    text = {"type": "string", "format": "byte", "description": "The picture's file in base64."}
    rest = {"type": "object", "required": ["picture"], "additionalProperties": False}
    form = {name: {"type": "string", **{key: each[key] for key in ("description",) if key in each}}
            for name, each in fields.items()}  # fmt: skip
    return {"requestBody": {"required": True, "content": {
        FORM: {"schema": {**rest, "properties": {"picture": file, **form}}},
        "application/json": {"schema": {**rest, "properties": {"picture": text, **fields}}},
    }}}  # fmt: skip


def application(site: Site) -> FastAPI:
    """The app of a site."""
    app = FastAPI(title="regard", version=__version__, description=ABOUT, docs_url=None, redoc_url=None,
                  default_response_class=Json)  # fmt: skip
    _errors(app)
    _jobs(app, site)
    _lists(app, site)
    return app


def _jobs(app: FastAPI, site: Site) -> None:
    async def job(request: Request, kind: str) -> Response:
        site.pool.check_room()
        settings, picture = await read_picture(request, KINDS[kind][0], site.options.max_bytes, site.budget)
        return await site.answered(request, kind, settings, picture)

    @app.post("/api/classify", openapi_extra=_takes("classify"), responses=REFUSALS)
    async def classify(request: Request) -> Response:
        """The likeliest classes of a picture, and their probabilities."""
        return await job(request, "classify")

    @app.post("/api/explain", openapi_extra=_takes("explain"), responses=REFUSALS)
    async def explain(request: Request) -> Response:
        """Where a network looks: a map of the picture by each method, rows of numbers on the grid of patches."""
        return await job(request, "explain")

    @app.post("/api/inspect", openapi_extra=_takes("inspect"), responses=REFUSALS)
    async def inspect(request: Request) -> Response:
        """All that the viewer shows of a picture by one model: packed bytes where `application/vnd.regard.inspection`
        is accepted, else their JSON twin in `inspection` (docs/inspections.md). Of a captioner it is the caption's."""
        return await job(request, "inspect")

    @app.post("/api/caption", openapi_extra=_takes("caption"), responses=REFUSALS)
    async def caption(request: Request) -> Response:
        """A caption word by word, each with its probability, what could have stood there, and its map."""
        return await job(request, "caption")


Name = Annotated[str, Path(max_length=200)]
Number = Annotated[int, Path(ge=0, lt=10**9)]


def _lists(app: FastAPI, site: Site) -> None:
    missing: dict[int | str, dict[str, Any]] = {404: REFUSALS[404], 413: REFUSALS[413], 422: REFUSALS[422]}

    @app.get("/", include_in_schema=False)
    async def live() -> Response:
        return live_page(site.pool.models, site.runs, site.options.max_bytes)

    @app.get("/runs/{name}", include_in_schema=False)
    async def of_run(name: Name) -> Response:
        return await run_in_threadpool(lambda: run_page(site.run(name)))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return docs_page(app.openapi())

    @app.get("/health")
    async def health() -> Response:
        """Whether the server can work: its workers, and how many jobs wait. 503 while none of them is ready."""
        workers = [slot.as_json() for slot in site.pool.slots]
        about = {"status": "ok" if site.pool.healthy else "not ready", "workers": workers}
        return Json(
            {**about, "waiting": len(site.pool.waiting), "limit": site.pool.limit}, 200 if site.pool.healthy else 503
        )

    @app.get("/api/models")
    async def models() -> list[dict[str, Any]]:
        """The models that this server was started with, their classes, and the methods that fit each."""
        return site.pool.models

    @app.get("/api/methods")
    async def methods() -> list[dict[str, Any]]:
        """The methods of maps: what each shows, its settings, its cost in forwards, its source."""
        return [{**asdict(row), "target": row.name} for row in METHODS]

    @app.get("/api/runs")
    async def runs() -> Response:
        """The runs that this server was started with."""
        return Json(await run_in_threadpool(lambda: [run.as_json() for run in site.runs.values()]))

    @app.get("/api/runs/{name}", responses=missing)
    async def run(name: Name) -> Response:
        """A run's scores, classes, confusions and pictures to look at: its `scores.json`."""
        return Json(await run_in_threadpool(lambda: site.run(name).scores))

    @app.get("/api/runs/{name}/pictures", responses=missing)
    async def pictures(name: Name) -> Response:
        """All pictures of a run as columns: names, true and predicted classes as indices, confidence."""
        return Json(await run_in_threadpool(columns, site.run(name)))

    @app.get("/api/runs/{name}/pictures/{number}/thumbnail", responses=missing)
    async def thumbnail(
        name: Name, number: Number, side: Annotated[int, Query(ge=1, le=SIDES[-1])] = SIDES[1]
    ) -> Response:
        """A small JPEG of a picture, by its number in the columns; sides are 160, 320 or 640."""
        longest = next(each for each in SIDES if each >= side)
        content = await run_in_threadpool(site.thumbnails.get, site.run(name), number, longest)
        return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    @app.get("/api/runs/{name}/pictures/{number}/{kind}", responses=REFUSALS)
    async def of_picture(request: Request, name: Name, number: Number, kind: str) -> Response:
        """What the same jobs give of a picture of a run; settings are in the address."""
        if kind not in KINDS:
            raise RequestError(
                404, f"there is no {printable(kind)} of a picture; there are {', '.join(KINDS)}, thumbnail"
            )
        settings = checked(KINDS[kind][0], {"name": f"picture {number}", **request.query_params})
        content = await run_in_threadpool(site.run(name).content, number, site.options.max_bytes)
        return await site.answered(request, kind, settings, content)


def _errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> Response:
        return refusal(error.status, str(error), error.retry)

    @app.exception_handler(RegardError)
    async def failed(request: Request, error: RegardError) -> Response:
        return refusal(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        why = first["msg"][:1].lower() + first["msg"][1:]
        value = printable(repr(first.get("input")))
        return refusal(422, f"`{printable(str(first['loc'][-1]))}` of the address came as {value}: {why}; change it")

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> Response:
        path = printable(request.url.path)
        allowed = (error.headers or {}).get("Allow", "others")
        texts = {
            404: f"there is no {path}; /docs lists what there is",
            405: f"{path} does not take {request.method}; it takes {allowed}; send one of these",
        }
        return refusal(error.status_code, texts.get(error.status_code, str(error.detail)), headers=error.headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return refusal(500, "the server failed at this; its log has what happened: please report it")
