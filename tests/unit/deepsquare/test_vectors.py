"""Byte for byte what the protocol's own vectors say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from eth_utils.crypto import keccak

from bot.backends.deepsquare import abi, log_pb2
from bot.backends.deepsquare.abi import ChainJob, JobDefinition, Status
from bot.backends.deepsquare.contracts import ContractReader
from bot.backends.deepsquare.log_client import LogClient
from bot.backends.deepsquare.pricing import Prices
from bot.backends.deepsquare.revert_errors import SELECTORS, decode_revert
from bot.backends.deepsquare.rpc import RpcClient
from bot.backends.deepsquare.timeouts import Timeouts
from bot.backends.deepsquare.wallet import Wallet
from tests.unit.deepsquare import vectors
from tests.unit.deepsquare.vectors import CREDIT, JOB

DEFINITION = JobDefinition(4, 8000, 8, 4, vectors.SCRIPT, uses=(("os", "linux"),), storage=0)


def service(moment: float) -> LogClient:
    return LogClient(
        "127.0.0.1:1",
        tls=False,
        wallet=Wallet(vectors.PRIVATE_KEY),
        timeouts=Timeouts(),
        now=lambda: datetime.fromtimestamp(moment, UTC),
        jitter=lambda: 0.5,
    )


def test_the_wallet_has_the_address_of_its_key() -> None:
    assert Wallet(vectors.PRIVATE_KEY).address == vectors.ADDRESS


def test_texts_are_signed_as_the_logger_verifies_them() -> None:
    wallet = Wallet(vectors.PRIVATE_KEY)
    address = vectors.ADDRESS.lower()
    name = abi.log_name(JOB)
    assert wallet.sign_text(f"read:{address}/{name}/1700000000") == vectors.READ_SECONDS
    assert wallet.sign_text(f"read:{address}/{name}/1700000000000") == vectors.READ_MILLISECONDS
    assert wallet.sign_text(f"watchList:{address}/1700000000") == vectors.WATCH_LIST


def test_a_log_is_asked_for_in_milliseconds_with_these_very_bytes() -> None:
    request = service(1_700_000_000.0).request(JOB)
    assert request.SerializeToString() == vectors.READ_REQUEST
    assert len(vectors.READ_REQUEST) == 186


def test_a_log_line_is_read_from_these_very_bytes() -> None:
    message = log_pb2.ReadResponse.FromString(vectors.READ_RESPONSE)
    assert message.data == b"--- Job has started ---"
    assert message.timestamp == 1_700_000_001_123_456_789


def test_a_job_is_requested_with_these_very_bytes() -> None:
    name = abi.encode_job_name("sd-grid 42")
    data = abi.REQUEST_NEW_JOB.encode_call(DEFINITION.abi(), 1000 * CREDIT, name, False)
    assert bytes(data) == vectors.REQUEST
    assert len(data) == 740


def test_a_provider_filter_is_encoded_as_the_contract_reads_it() -> None:
    filtered = replace(
        DEFINITION, uses=(), affinity=(("gpu", "in", "nvidia"), ("compute.gflops", ">", "1000"))
    )
    name = abi.encode_job_name("sd-grid 42")
    data = abi.REQUEST_NEW_JOB.encode_call(filtered.abi(), 1000 * CREDIT, name, False)
    assert len(data) == 1092
    digest = "8818c84b609d55e791217a2e712b674b5a73dd5050501e7127675e7d5685382f"
    assert keccak(bytes(data)).hex() == digest


async def test_the_chain_never_lets_anybody_else_spend_for_a_job() -> None:
    rpc = RpcClient("http://127.0.0.1:1", Timeouts())
    chain = ContractReader(rpc, vectors.SCHEDULER, 179188, vectors.ADDRESS)
    assert bytes(chain.request(DEFINITION, 1000 * CREDIT, "sd-grid 42")) == vectors.REQUEST
    await rpc.aclose()


def test_a_job_without_a_script_is_never_encoded() -> None:
    with pytest.raises(ValueError, match="needs a script"):
        replace(DEFINITION, script="").abi()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sd-grid 42", vectors.NAME),
        ("Größe-テスト", "4772c3b6c39f652de38386e382b9e38388" + "00" * 15),
        ("x" * 32, "78" * 32),
        ("", "00" * 32),
    ],
)
def test_a_jobs_name_is_its_utf8_bytes(text: str, name: str) -> None:
    assert abi.encode_job_name(text).hex() == name


def test_a_jobs_name_of_33_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="33"):
        abi.encode_job_name("テ" * 11)


def test_the_events_are_read_as_published() -> None:
    word = "{:064x}".format
    transition = bytes.fromhex(word(JOB) + word(2) + word(3))
    number, before, after = abi.JOB_TRANSITION.decode(transition)
    assert (int.from_bytes(number, "big"), before, after) == (JOB, 2, 3)
    request = bytes.fromhex(word(JOB) + word(int(vectors.ADDRESS, 16)))
    number, customer = abi.NEW_JOB_REQUEST.decode(request)
    assert (int.from_bytes(number, "big"), customer) == (JOB, vectors.ADDRESS.lower())


def test_a_finished_job_is_read_from_these_very_bytes() -> None:
    assert len(vectors.JOB_ANSWER) == 1280
    job = ChainJob.decode(vectors.JOB_ANSWER)
    assert job == ChainJob(
        number=JOB,
        status=Status.FINISHED,
        customer=vectors.ADDRESS.lower(),
        provider=vectors.PROVIDER.lower(),
        gpus=4,
        mem_per_cpu=8000,
        cpus_per_task=8,
        tasks=4,
        script=vectors.SCRIPT,
        max_cost=1000 * CREDIT,
        final_cost=4244 * CREDIT // 10,
        submitted=1700000000,
        started=1700000030,
        ended=1700000342,
        name=bytes.fromhex(vectors.NAME),
        cancel_requested=False,
        last_error="",
        exit_code=0,
    )


@pytest.mark.parametrize(
    ("function", "values", "data"),
    [
        (
            abi.APPROVE,
            (vectors.SCHEDULER, 1000 * CREDIT),
            "095ea7b30000000000000000000000007524fbb0c1e099a4a472c5a7b0b1e1e3abd3fe97"
            "00000000000000000000000000000000000000000000003635c9adc5dea00000",
        ),
        (abi.CANCEL_JOB, (abi.encode_job_number(JOB),), f"5fae1450{JOB:064x}"),
        (
            abi.TOP_UP_JOB,
            (abi.encode_job_number(JOB), 50 * CREDIT),
            f"2fecc4f6{JOB:064x}000000000000000000000000000000000000000000000002b5e3af16b1880000",
        ),
        (abi.GET_JOB, (abi.encode_job_number(JOB),), f"8eaa6ac0{JOB:064x}"),
    ],
)
def test_calls_are_encoded_as_published(
    function: abi.Function, values: tuple[object, ...], data: str
) -> None:
    assert function.encode_call(*values).hex().removeprefix("0x") == data


@pytest.mark.parametrize(
    ("function", "selector"),
    [
        (abi.CREDIT_TOKEN, "a06d083c"),
        (abi.JOBS, "7c8fce23"),
        (abi.PROVIDER_MANAGER, "13151ec9"),
        (abi.CONSTANTS, "72de5b2f"),
        (abi.ENABLE_REQUEST_NEW_JOB, "4c6dad12"),
        (abi.GET_BY_CUSTOMER, "89a33883"),
        (abi.BALANCE_OF, "70a08231"),
        (abi.ALLOWANCE, "dd62ed3e"),
        (abi.GET_PROVIDER, "55f21eb7"),
        (abi.IS_VALID_FOR_SCHEDULING, "21457c7e"),
        (abi.MINIMUM_AMOUNT, "bb0c8298"),
    ],
    ids=repr,
)
def test_selectors_are_the_published_ones(function: abi.Function, selector: str) -> None:
    assert function.selector.hex() == selector


@pytest.mark.parametrize(
    ("event", "topic"),
    [
        (
            abi.NEW_JOB_REQUEST,
            "1b831e9023e41b1f2ae42f1cb9a173ca2de2eb05475bf206d3762717a826ada3",
        ),
        (abi.JOB_TRANSITION, "0bba917f0a1e0fc0d51a75273e7088a4dfecb010699e60ac9c58526429f6c37f"),
        (abi.PROVIDER_WAITING, "499ee8b60c37d33e7ef4118e0b351258ec86a6d6cb2e3b71755ee89af0d8e343"),
    ],
)
def test_topics_are_the_published_ones(event: abi.Event, topic: str) -> None:
    assert event.topic.hex().removeprefix("0x") == topic


def test_every_published_refusal_is_known_by_its_selector() -> None:
    published = """
    03eb8b54 d208e590 3abe75b3 89423319 8c6824c2 ed3e2aad 42f99019 9003b68a 7897ef6d 32e3065c
    090713fe 14475eb7 ef341f6d 2fef82f8 2a856fc9 71c8f460 97736927 3db2a12a b4120f14 3a43ca41
    7064572b 2a9126eb bdb90210 a24a13a6 e01ba5fa 5b23e576 785f1be0 08c379a0 4e487b71
    """
    assert {bytes.fromhex(selector) for selector in published.split()} == set(SELECTORS)


@pytest.mark.parametrize(
    ("data", "name", "values"),
    [
        (
            f"03eb8b54{99 * CREDIT:064x}{100 * CREDIT:064x}",
            "InsufficientFunds",
            (99 * CREDIT, 100 * CREDIT),
        ),
        (f"8c6824c2{5:064x}", "JobHotStatusOnly", (5,)),
        (
            f"08c379a0{0x20:064x}{0x1D:064x}"
            "45524332303a20696e73756666696369656e7420616c6c6f77616e6365000000",
            "Error",
            ("ERC20: insufficient allowance",),
        ),
        ("", "", ()),
        ("deadbeef", "0xdeadbeef", ()),
        ("8c6824c205", "JobHotStatusOnly", ()),
    ],
)
def test_refusals_are_read_from_their_bytes(
    data: str, name: str, values: tuple[object, ...]
) -> None:
    revert = decode_revert(bytes.fromhex(data))
    assert (revert.name, revert.values) == (name, values)


def test_a_transaction_is_signed_to_these_very_bytes() -> None:
    raw, known_as = Wallet(vectors.PRIVATE_KEY).sign_transaction(
        {
            "chainId": 179188,
            "nonce": 7,
            "gasPrice": 25 * 10**9,
            "gas": 600_000,
            "to": vectors.SCHEDULER,
            "value": 0,
            "data": vectors.REQUEST,
        }
    )
    beginning = (
        "f9034e078505d21dba00830927c0947524fbb0c1e099a4a472c5a7b0b1e1e3abd3fe9780b902e4d9943788"
    )
    assert bytes(raw).hex().startswith(beginning)
    assert bytes(known_as).hex() == (
        "d0c43c649ddafe4c4f5e3620d81bca262481e00f5ab3f8bf600880092957fd9e"
    )
    ending = (
        "8305780ca0aa34700c33b85b3e219dbd0257bbf8f5130ce3571fbaf40e682d5f7dd3ef354e"
        "a073fbb113e205d73330f3ccdb26714094060e88689aa950621978bc4d08cf1ffe"
    )
    assert bytes(raw).hex().endswith(ending)


@pytest.mark.parametrize(
    ("tasks", "cpus", "mem", "gpus", "per_minute"),
    [
        (4, 8, 8000, 4, "84.88"),
        (1, 8, 8000, 1, "21.22"),
        (4, 2, 8000, 4, "46.72"),
        (1, 2, 16000, 1, "12.96"),
    ],
)
def test_a_minute_costs_what_the_contract_says(
    tasks: int, cpus: int, mem: int, gpus: int, per_minute: str
) -> None:
    definition = JobDefinition(gpus, mem, cpus, tasks, vectors.SCRIPT)
    cost = Prices(vectors.GPU, vectors.CPU, vectors.MEM).per_minute(definition)
    assert abi.format_credits(cost) == per_minute
    assert cost == vectors.PER_MINUTE or per_minute != "84.88"


def test_a_lock_buys_whole_minutes() -> None:
    assert 10 * vectors.PER_MINUTE == 848_800_000_000_000_000_000
    for lock, minutes in ((1000 * CREDIT, 11), (100 * CREDIT, 1), (vectors.PER_MINUTE - 1, 0)):
        assert lock // vectors.PER_MINUTE == minutes
