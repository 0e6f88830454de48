"""The pages: the viewer that asks this server, a run to look through, and what programs can ask."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import numpy as np
from starlette.responses import HTMLResponse

from regard.explanation import METHODS
from regard.jobs.pool.runs import ServedRun
from regard.measurement import METRICS
from regard.records import Evaluation
from regard.rendering.pages import views
from regard.rendering.pages.columns import run_columns
from regard.rendering.pages.inspections import SCRIPTS, STYLES
from regard.rendering.pages.shell import SERVED, policy, render, script, shell
from regard.version import __version__

HEADLINES = ("top1", "balanced_accuracy", "ece")
"""The scores that the page of a run has at its top."""
KINDS = {"array": "list", "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}


def page(template: str, title: str, context: Mapping[str, Any], data: Mapping[str, Any], scripts: Sequence[str]) -> Any:
    """A page of `viewer/live/`, with the policy that its script's hash is part of in its headers too."""
    styles = (*STYLES, "live/live.css")
    html = shell(title, render(f"live/{template}", context), data=data, files=(*styles, *scripts), rules=SERVED)
    rules = f"{policy(script(scripts), rules=SERVED)}; frame-ancestors 'none'"
    return HTMLResponse(html, headers={"content-security-policy": rules})


def live_page(models: Sequence[Mapping[str, Any]], runs: Mapping[str, ServedRun], max_bytes: int) -> HTMLResponse:
    """Where a picture is dropped."""
    links = [{"name": name, "address": f"/runs/{quote(name, safe='')}"} for name in runs]
    data = {"models": list(models), "methods": [asdict(row) for row in METHODS], "maxBytes": max_bytes}
    scripts = (*SCRIPTS[:-1], "live/served.js", "live/live.js", SCRIPTS[-1])
    answer: HTMLResponse = page("live.html", "regard", {"runs": links, "version": __version__}, data, scripts)
    return answer


def run_page(run: ServedRun) -> HTMLResponse:
    """A run's pictures, however many there are."""
    twin = f"/api/runs/{quote(run.name, safe='')}"
    scores = run.scores
    facts = {"Pictures": f"{scores['n']:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")}
    facts |= {METRICS[name].label: _score(scores[name]) for name in HEADLINES if name in scores}
    facts["Classes"] = str(len(scores["classes"]))
    messages = [scores["note"]] if scores.get("note") else []
    if run.data is None:
        messages.append("The server was started without --data, so the pictures themselves are not shown.")
    places = {"title": run.name, "columns": f"{twin}/pictures"}
    context = {**places, "facts": views.facts(facts), "messages": messages, "twin": twin}
    data = {**places, "classes": scores["classes"]}
    scripts = (*SCRIPTS[:-1], "live/served.js", "live/run.js", SCRIPTS[-1])
    answer: HTMLResponse = page("run.html", run.name, context, data, scripts)
    return answer


def columns(run: ServedRun) -> dict[str, Any]:
    """All pictures of a run, a value a picture in each column, and where each has its thumbnail and its inspection."""
    place = f"/api/runs/{quote(run.name, safe='')}/pictures/{{i}}"
    addresses = {"inspection": f"{place}/inspect", "thumbs": f"{place}/thumbnail"} if run.data is not None else {}
    counts = np.zeros((1, 1), np.int64)  # what columns are made of are the predictions alone
    evaluation = Evaluation(run.predictions, {}, (), counts, (), (), (), (), ())
    return {**run_columns(evaluation), "classes": list(run.predictions.classes), **addresses}


def docs_page(schema: Mapping[str, Any]) -> HTMLResponse:
    """What programs can ask, from the schema that says it to programs."""
    operations = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            properties = content.get("application/json", {}).get("schema", {}).get("properties", {})
            fields = [_field(name, each) for name, each in properties.items()]
            fields += [_field(each["name"], {**each, **each["schema"]}) for each in operation.get("parameters", ())]
            example = f"curl -F picture=@cat.jpg http://127.0.0.1:8000{path}" if content else ""
            row = {"id": operation["operationId"], "method": method.upper(), "path": path, "fields": fields}
            text = operation.get("description", "").replace("`", "")
            operations.append({**row, "text": text, "example": example, "answers": ", ".join(operation["responses"])})
    context = {"about": schema["info"]["description"].replace("`", ""), "operations": operations}
    answer: HTMLResponse = page("docs.html", "regard: the API", context, {}, ())
    return answer


def _field(name: str, about: Mapping[str, Any]) -> dict[str, str]:
    kinds = [KINDS.get(each.get("type", ""), "") for each in (about, *about.get("anyOf", ()))]
    default = about.get("default")
    text = ", ".join(default) if isinstance(default, list) else "" if default is None else str(default)
    kind = " or ".join(dict.fromkeys(filter(None, kinds)))
    return {"name": name, "kind": kind, "default": text, "text": about.get("description", "")}


def _score(score: Mapping[str, Any]) -> str:
    """A value with its interval, as `scores.json` has it."""
    if score["value"] is None:
        return "not defined"
    interval = "" if score.get("low") is None else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return f"{score['value']:.3f}{interval}"
