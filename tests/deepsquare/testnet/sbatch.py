"""The GraphQL endpoint that takes a job and keeps its script for an hour.

It answers with the shapes and status codes of the real service, errors first. It keeps the job as
submitted; turning it into bash is done where it is fetched. It knows nothing of chain or credits.
"""

from __future__ import annotations

import copy
import json
import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.deepsquare.testnet.rules import rendering_problem, violations
from tests.deepsquare.testnet.schema import mismatches
from tests.deepsquare.testnet.service import Service, drop, stall

LIFETIME_SECONDS = 3600
_ALPHABET = string.digits[2:] + "".join(
    letter for letter in string.ascii_letters if letter not in "lIO"
)
_SUBMIT = re.compile(
    r"\s*mutation\s*\w*\s*\(\s*\$(\w+)\s*:\s*Job!\s*\)\s*\{\s*submit\s*\(\s*job\s*:\s*\$\1\s*\)\s*\}\s*"
)
_TYPENAME = re.compile(r"\s*(query\s*\w*\s*)?\{\s*__typename\s*\}\s*")


class ScriptGone(Exception):
    """There is no such script, or not any more."""


@dataclass
class SbatchFaults:
    """What goes wrong from now on; a fresh one is nothing.

    ``status`` other than 200 is the whole answer; ``internal`` is the text of an internal error;
    ``empty`` answers with an empty hash; ``lost`` so many answers are dropped after the work;
    ``not_json`` answers with a proxy's page.
    """

    status: int = 200
    internal: str = ""
    empty: bool = False
    lost: int = 0
    not_json: bool = False
    delay_seconds: float = 0.0


class SbatchServer:
    """``submits`` counts accepted jobs; ``now`` is in seconds, of any origin."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.faults = SbatchFaults()
        self.submits = 0
        self.posts = 0
        self._now = now
        self._scripts: dict[str, tuple[dict[str, Any], float]] = {}
        self.service = Service(web.post("/graphql", self._serve), web.get("/health", self._health))

    @property
    def url(self) -> str:
        """The GraphQL address."""
        return f"http://{self.service.host}/graphql"

    def fetch(self, script: str) -> dict[str, Any]:
        """The job kept under a hash. Raises ScriptGone once it is an hour old."""
        job, kept = self._scripts.get(script, ({}, 0.0))
        if not job or self._now() - kept > LIFETIME_SECONDS:
            raise ScriptGone(script)
        return copy.deepcopy(job)

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _serve(self, request: web.Request) -> web.Response:
        self.posts += 1
        if self.faults.delay_seconds:
            await stall(self.faults.delay_seconds)
        if self.faults.status != 200:
            return web.Response(status=self.faults.status, text="Bad Gateway")
        if self.faults.not_json:
            return web.Response(text="<html>maintenance</html>", content_type="text/html")
        if request.content_type != "application/json":
            return _refuse(400, {"message": "transport not supported"})
        try:
            body = json.loads(await request.read())
            query, variables = body["query"], body.get("variables") or {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"json body could not be decoded: {error}"
            return _refuse(400, {"message": message})
        answer = self._answer(query, variables)
        if self.faults.lost > 0:
            self.faults.lost -= 1
            return drop(request)
        return answer

    def _answer(self, query: Any, variables: dict[str, Any]) -> web.Response:
        if isinstance(query, str) and _TYPENAME.fullmatch(query):
            return web.json_response({"data": {"__typename": "Query"}})
        match = _SUBMIT.fullmatch(query) if isinstance(query, str) else None
        if match is None:
            code = {"code": "GRAPHQL_PARSE_FAILED"}
            return _refuse(422, {"message": "Unexpected Name", "extensions": code})
        job = variables.get(match[1])
        wrong = mismatches(job, path=(match[1],))
        if wrong:
            code = {"code": "GRAPHQL_VALIDATION_FAILED"}
            errors = [
                {"message": found.message, "path": ["variable", *found.path], "extensions": code}
                for found in wrong
            ]
            return _refuse(422, *errors)
        assert isinstance(job, dict)
        return self._submit(job)

    def _submit(self, job: dict[str, Any]) -> web.Response:
        errors = [violation.error() for violation in violations(job)]
        problem = self.faults.internal or rendering_problem(job)
        if not errors and problem:
            internal = {"type": "internal"}
            errors = [{"message": problem, "path": ["submit"], "extensions": internal}]
        if errors:
            return web.json_response({"errors": errors, "data": {"submit": ""}})
        if self.faults.empty:
            return web.json_response({"data": {"submit": ""}})
        script = "".join(secrets.choice(_ALPHABET) for _ in range(22))
        self._scripts[script] = (job, self._now())
        self.submits += 1
        return web.json_response({"data": {"submit": script}})


def _refuse(status: int, *errors: dict[str, Any]) -> web.Response:
    return web.json_response({"errors": [*errors], "data": None}, status=status)
