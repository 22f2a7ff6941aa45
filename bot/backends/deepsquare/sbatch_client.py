"""GraphQL client of DeepSquare's script service: job document in, hash of the rendered script out.

Errors are read before data: a rejected job comes with HTTP status 200 and an empty hash. The
service's error texts repeat values, a member's prompt or the job's key among them, so none of them
leaves this module; the rule and the path in the document do. Submitting twice costs nothing: it
only makes another script.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from bot.backends.deepsquare.rpc import Sleep
from bot.backends.deepsquare.timeouts import Timeouts
from bot.domain.errors import SubmissionRejected, Unavailable
from bot.domain.json_parser import parse_json
from bot.domain.workflow.document import Workflow

MUTATION = "mutation Submit($job: Job!) { submit(job: $job) }"
MAX_RESPONSE_BYTES = 1 << 20

_SEGMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)((?:\[[0-9]+\])*)")
_HASH = re.compile(r"[!-~]{1,128}")


class SbatchClient:
    """The GraphQL endpoint at ``url``."""

    def __init__(
        self,
        url: str,
        health_url: str,
        timeouts: Timeouts,
        *,
        http: httpx.AsyncClient,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._url = url
        self._health_url = health_url
        self._timeouts = timeouts
        self._http = http
        self._sleep = sleep

    async def submit(self, workflow: Workflow) -> str:
        """Render the job and return the script's hash (batchLocationHash), valid for an hour.

        Raises SubmissionRejected with the path in the document, Unavailable.
        """
        document = workflow.to_dict()
        # ASCII only: a lone surrogate in a text must not crash the client.
        body = json.dumps(
            {"query": MUTATION, "variables": {"job": document}, "operationName": "Submit"}
        )
        internal_errors = 0
        for pause in (*self._timeouts.retries, None):
            try:
                return _parse_response(await self._post(body), document)
            except Unavailable:
                if pause is None:
                    raise
            except _InternalError as error:
                # A missing image looks just like a database outage: retry once.
                internal_errors += 1
                if internal_errors > 1 or pause is None:
                    raise SubmissionRejected(
                        "the script service could not render the job, and does not say which "
                        "part: check images, registries and modules of the template"
                    ) from error
            await self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def find_problem(self) -> str:
        """Return "" if the service answers, or the problem."""
        try:
            answer = await self._http.get(self._health_url, timeout=self._timeouts.probe)
        except httpx.HTTPError as error:
            return f"{self._health_url} does not answer: {type(error).__name__}"
        return "" if answer.status_code < 400 else f"{self._health_url}: {answer.status_code}"

    async def _post(self, body: str) -> Any:
        timeout = httpx.Timeout(self._timeouts.submit_request, connect=self._timeouts.connect)
        headers = {"content-type": "application/json", "accept": "application/json"}
        try:
            async with self._http.stream(
                "POST", self._url, content=body, headers=headers, timeout=timeout
            ) as answer:
                if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
                    raise Unavailable(f"the script service: HTTP status {answer.status_code}")
                data = bytearray()
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_RESPONSE_BYTES:
                        raise Unavailable("the script service's response is too long")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            # The error's text may hold an address, never the body that was sent.
            raise Unavailable(f"the script service: {type(error).__name__}: {error}") from error
        try:
            return parse_json(bytes(data))
        except ValueError as error:
            raise Unavailable(
                f"the script service: HTTP status {answer.status_code} without JSON"
            ) from error


class _InternalError(Exception):
    """The service, or something that it depends on, failed."""


def _parse_response(answer: Any, document: Mapping[str, Any]) -> str:
    """Return the hash from a response of any shape."""
    if not isinstance(answer, dict):
        raise Unavailable("the script service's response is not an object")
    errors = answer.get("errors")
    if errors:
        first = errors[0] if isinstance(errors, list) else None
        raise _to_error(first if isinstance(first, dict) else {}, document)
    data = answer.get("data")
    found = data.get("submit") if isinstance(data, dict) else None
    if not isinstance(found, str) or not _HASH.fullmatch(found):
        # The chain would take an empty hash, and the money with it.
        raise Unavailable("the script service returned no script")
    return found


def _to_error(error: Mapping[str, Any], document: Mapping[str, Any]) -> Exception:
    extensions = error.get("extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    if extensions.get("type") == "internal":
        return _InternalError()
    if extensions.get("type") == "validation":
        path = template_path(str(extensions.get("namespace", "")), document)
        rule = re.sub(r"[^A-Za-z0-9_=]", "", str(extensions.get("tag", "")))[:40]
        return SubmissionRejected(
            f"{path}: DeepSquare refuses the value (rule {rule or 'unknown'})"
        )
    path = _variable_path(error.get("path"))
    code = re.sub(r"[^A-Z_]", "", str(extensions.get("code", "")))[:40]
    return SubmissionRejected(
        f"{path or 'the job document'}: does not fit DeepSquare's schema ({code or 'no code'})"
    )


def template_path(namespace: str, document: Mapping[str, Any]) -> str:
    """Convert the service's Go names (``Job.Steps[0].Run.Container.Image``) to a document path.

    Names are looked up in the document without regard to case; one that it does not hold is
    written the way the document's names are.
    """
    _, _, rest = namespace.partition(".")
    place: Any = document
    parts: list[str] = []
    for segment in rest.split(".") if rest else ():
        match = _SEGMENT.fullmatch(segment)
        if match is None:
            break
        name, indices = match[1], match[2]
        here = place if isinstance(place, dict) else {}
        key = next((key for key in here if key.lower() == name.lower()), None)
        place = here.get(key) if key is not None else None
        for index in re.findall(r"[0-9]+", indices):
            inside = isinstance(place, list) and int(index) < len(place)
            place = place[int(index)] if inside else None
        parts.append((key or name[:1].lower() + name[1:]) + indices)
    return ".".join(parts) or "the job document"


def _variable_path(path: Any) -> str:
    """Convert a GraphQL path (``["variable", "job", "env", 0]``) to a document path."""
    if not isinstance(path, list) or path[:2] != ["variable", "job"]:
        return ""
    text = ""
    for part in path[2:]:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = re.sub(r"[^A-Za-z0-9_]", "", str(part))[:60]
            text += f".{name}" if text else name
    return text
