"""Foreign errors end at the border: none of the libraries' own goes any further."""

from __future__ import annotations

import inspect
import json

import aiohttp
import httpx
import pytest
import web3.exceptions
from aiohttp.client_reqrep import RequestInfo
from eth_abi.exceptions import InsufficientDataBytes
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from bot.backends.deepsquare.revert_errors import ContractReverted, Revert, to_backend_error
from bot.backends.deepsquare.rpc import RpcError, map_rpc_errors
from bot.domain.errors import BackendError, InsufficientFunds, SubmissionRejected, Unavailable

_ARGUMENTS: dict[str, tuple[object, ...]] = {
    "OffchainLookup": ({"sender": "0x"},),
    "StaleBlockchain": ({"number": 1, "timestamp": 2}, 3),
    "TransactionTypeMismatch": (),
    "TaskNotRunning": (None, "it does not run"),
    "SubscriptionHandlerTaskException": (None, "it does not run"),
}


def web3_errors() -> list[Exception]:
    """One of each of web3's exceptions."""
    found: list[Exception] = []
    for name, kind in inspect.getmembers(web3.exceptions, inspect.isclass):
        if issubclass(kind, web3.exceptions.Web3Exception):
            found.append(kind(*_ARGUMENTS.get(name, ("said",))))
    return found


def http_error(status: int) -> aiohttp.ClientResponseError:
    url = URL("http://127.0.0.1/")
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    return aiohttp.ClientResponseError(
        RequestInfo(url, "POST", headers, url), (), status=status, message="no"
    )


OTHERS = [
    aiohttp.ClientConnectionError("gone"),
    aiohttp.ServerDisconnectedError(),
    TimeoutError(),
    OSError(104, "reset"),
    json.JSONDecodeError("no json", "<html>", 0),
    InsufficientDataBytes("short"),
    KeyError("logs"),
    TypeError("None has no items"),
    AttributeError("result"),
    http_error(400),
    http_error(404),
    http_error(429),
    http_error(502),
]


@pytest.mark.parametrize("error", [*web3_errors(), *OTHERS], ids=lambda error: type(error).__name__)
def test_no_error_of_the_chains_libraries_crosses_the_border(error: Exception) -> None:
    with pytest.raises(BackendError) as caught, map_rpc_errors():
        raise error
    assert isinstance(caught.value, Unavailable | ContractReverted | RpcError)
    assert caught.value.__cause__ is error


def test_a_question_that_is_too_long_is_a_refusal_and_too_many_are_an_outage() -> None:
    for status, kind in ((400, RpcError), (413, RpcError), (429, Unavailable), (503, Unavailable)):
        with pytest.raises(kind), map_rpc_errors():
            raise http_error(status)


@pytest.mark.parametrize(
    ("error", "revert"),
    [
        (
            web3.exceptions.ContractCustomError("0x71c8f460", data="0x71c8f460"),
            Revert("InvalidJob"),
        ),
        (
            web3.exceptions.ContractLogicError(
                "execution reverted: ERC20: insufficient allowance", data=None
            ),
            Revert("Error", ("ERC20: insufficient allowance",)),
        ),
        (
            web3.exceptions.ContractLogicError("execution reverted", data={"data": "0x2a856fc9"}),
            Revert("SameStatusError"),
        ),
        (web3.exceptions.ContractLogicError("execution reverted", data="0x"), Revert("")),
        (
            web3.exceptions.ContractLogicError("execution reverted", data="0xzz"),
            Revert(""),
        ),
        (web3.exceptions.ContractPanicError("overflow", data="0x4e487b71"), Revert("Panic")),
    ],
)
def test_a_refusal_is_read_from_wherever_the_endpoint_puts_it(
    error: Exception, revert: Revert
) -> None:
    with pytest.raises(ContractReverted) as caught, map_rpc_errors():
        raise error
    assert caught.value.revert == revert


@pytest.mark.parametrize(
    ("revert", "kind", "words"),
    [
        (
            Revert("Error", ("ERC20: insufficient allowance",)),
            InsufficientFunds,
            "gridbrush wallet",
        ),
        (
            Revert("Error", ("ERC20: transfer amount exceeds balance",)),
            InsufficientFunds,
            "buy credits",
        ),
        (Revert("Error", ("AccessControl",)), SubmissionRejected, "AccessControl"),
        (
            Revert("InsufficientFunds", (99 * 10**18, 100 * 10**18)),
            SubmissionRejected,
            "at least 100 credits, this one 99",
        ),
        (Revert("NewJobRequestDisabled"), Unavailable, "meta_scheduler"),
        (Revert("InvalidJobDefinition"), SubmissionRejected, "InvalidJobDefinition"),
        (Revert(""), SubmissionRejected, "no reason given"),
    ],
)
def test_a_refused_request_is_one_of_our_errors_and_says_what_to_do(
    revert: Revert, kind: type[BackendError], words: str
) -> None:
    error = to_backend_error(revert)
    assert type(error) is kind
    assert words in str(error)


def test_httpx_has_no_error_outside_of_what_is_mapped() -> None:
    roots = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)
    for _, kind in inspect.getmembers(httpx, inspect.isclass):
        if issubclass(kind, Exception):
            assert issubclass(kind, roots), kind
