"""The RPC endpoint that customers are given: the node behind a counter, with faults on demand.

It also says some things as an Avalanche subnet would and the test node would not: block headers
with long extra data, a limit on the blocks of one ``eth_getLogs``, geth's words for known errors.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from tests.deepsquare.testnet.pool import Pool
from tests.deepsquare.testnet.service import Service, drop, stall

EXTRA_DATA = "0x" + "5a" * 80
SENDING = "eth_sendRawTransaction"
# The test node's words and geth's.
_WORDS = {
    "transaction already imported": "already known",
    "Insufficient funds for gas": "insufficient funds for gas",
    "execution reverted:": "execution reverted",
}


@dataclass
class RpcFaults:
    """What goes wrong at the endpoint from now on; a fresh one is nothing.

    ``refused`` methods are answered with an error, or everything with ``"*"``. ``lost`` maps a
    method to how many of its answers are dropped after the node has done what was asked; ``unsent``
    to how many requests are dropped before. ``status`` other than 200 is the answer to everything.
    """

    refused: frozenset[str] = frozenset()
    lost: Counter[str] | None = None
    unsent: Counter[str] | None = None
    status: int = 200
    delay_seconds: float = 0.0


class RpcProxy:
    """Counts every request by method; ``counts`` may be cleared at any time."""

    def __init__(self, node: str, session: aiohttp.ClientSession, sent: Callable[[], None]) -> None:
        self.counts: Counter[str] = Counter()
        self.posts = 0
        self.faults = RpcFaults()
        self.most_blocks = 2048
        self._node = node
        self._session = session
        self._sent = sent
        self._pool = Pool()
        self.service = Service(web.post("/rpc", self._serve))

    @property
    def url(self) -> str:
        """Where customers send requests."""
        return f"http://{self.service.host}/rpc"

    async def _serve(self, request: web.Request) -> web.Response:
        self.posts += 1
        body = json.loads(await request.read())
        requests = body if isinstance(body, list) else [body]
        self.counts.update(entry["method"] for entry in requests)
        faults = self.faults
        if faults.delay_seconds:
            await stall(faults.delay_seconds)
        if faults.status != 200:
            return web.Response(status=faults.status, text="upstream is gone")
        if any(_take(faults.unsent, entry["method"]) for entry in requests):
            return drop(request)
        answers = [await self._answer(entry) for entry in requests]
        if any(_take(faults.lost, entry["method"]) for entry in requests):
            return drop(request)
        return web.json_response(answers if isinstance(body, list) else answers[0])

    async def _answer(self, entry: dict[str, Any]) -> dict[str, Any]:
        method = entry["method"]
        refused = self.faults.refused
        if method in refused or "*" in refused:
            return _error(entry, -32603, "internal error")
        if method == "eth_getLogs" and (problem := await self._too_many_blocks(entry)):
            return _error(entry, -32000, problem)
        if method == SENDING:
            return await self._send(entry)
        answer = await self._ask(entry)
        if isinstance(block := answer.get("result"), dict) and "extraData" in block:
            block["extraData"] = EXTRA_DATA
        return answer

    async def _send(self, entry: dict[str, Any]) -> dict[str, Any]:
        raw = bytes.fromhex(entry["params"][0].removeprefix("0x"))
        place = self._pool.place(raw)
        if place is not None and self._pool.underpriced(place, raw):
            # The nonce of a mined one is another matter, and the node's.
            mined = await self._query("eth_getTransactionCount", place[0], "latest")
            if int(mined, 16) <= place[1]:
                return _error(entry, -32000, "replacement transaction underpriced")
        answer = await self._ask(entry)
        if place is not None and "result" in answer:
            self._pool.take(place, raw)
        self._sent()
        return answer

    async def _query(self, method: str, *params: str) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return (await self._ask(request))["result"]

    async def _ask(self, entry: dict[str, Any]) -> dict[str, Any]:
        try:
            async with self._session.post(self._node, json=entry) as response:
                answer = dict(await response.json())
        except (TimeoutError, aiohttp.ClientError) as error:
            return _error(entry, -32603, f"the node is gone: {error}")
        if "error" in answer:
            answer["error"]["message"] = _in_geths_words(answer["error"]["message"])
        return answer

    async def _too_many_blocks(self, entry: dict[str, Any]) -> str | None:
        query = entry["params"][0]
        ends = []
        for key in ("fromBlock", "toBlock"):
            tag = query.get(key, "latest")
            if not tag.startswith("0x"):
                tag = "0x0" if tag == "earliest" else await self._query("eth_blockNumber")
            ends.append(int(tag, 16))
        if "blockHash" in query or ends[1] - ends[0] < self.most_blocks:
            return None
        return (
            f"requested too many blocks from {ends[0]} to {ends[1]}, "
            f"maximum is set to {self.most_blocks}"
        )


def _take(left: Counter[str] | None, method: str) -> bool:
    if left is None or left[method] <= 0:
        return False
    left[method] -= 1
    return True


def _error(entry: dict[str, Any], code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": entry["id"], "error": {"code": code, "message": message}}


def _in_geths_words(message: str) -> str:
    for found, meant in _WORDS.items():
        if message.startswith(found) and meant != "execution reverted":
            return message.replace(found, meant)
        if message.startswith(found) and "custom error" in message:
            return meant
    return message
