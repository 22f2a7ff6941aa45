"""The contracts' interface: the very selectors, topics and errors, and calldata of the vectors."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from tests.deepsquare.testnet.chain import CREDIT, DEFINITION, calldata, topic
from tests.deepsquare.testnet.client import REQUEST
from tests.deepsquare.testnet.compiler import COMPONENTS, SOURCES, compile_contracts
from tests.deepsquare.testnet.scheduler_service import DEFINITION_VECTOR

FUNCTIONS = {
    "MetaScheduler": {
        f"requestNewJob({DEFINITION},uint256,bytes32,bool)": "d9943788",
        "cancelJob(bytes32)": "5fae1450",
        "topUpJob(bytes32,uint256)": "2fecc4f6",
        "topUpJobDelegate(bytes32)": "69ee1bf9",
        "setDelegateSpendingAuthority(bytes32,bool)": "329af326",
        "credit()": "a06d083c",
        "jobs()": "7c8fce23",
        "providerManager()": "13151ec9",
        "providerJobQueues()": "e2eaf3e7",
        "constants()": "72de5b2f",
        "enableRequestNewJob()": "4c6dad12",
        "METASCHEDULER_ROLE()": "e052888c",
        "metaSchedule(bytes32,address)": "d1cee546",
        "claimNextJob()": "5d3a7180",
        "claimNextCancellingJob()": "5e1b2d65",
        "claimNextTopUpJob()": "ebd4bf00",
        "providerSetJobStatus(bytes32,uint8,uint64,string,int64)": "e1c0fdd4",
        "refuseJob(bytes32)": "1f92a63f",
        "timeoutJob(bytes32)": "18263c59",
        "panicJob(bytes32,string)": "54b4a0d2",
        "setEnableRequestNewJob(bool)": "0bba4dc5",
        "withdrawAdmin(uint256)": "d77836ce",
    },
    "JobRepository": {
        "get(bytes32)": "8eaa6ac0",
        "getByCustomer(address)": "89a33883",
        "jobIdCounter()": "0f5a11ca",
        "jobs(bytes32)": "38ed7cfc",
        "jobIdByCustomer(address,uint256)": "94c159b3",
    },
    "Credit": {
        "balanceOf(address)": "70a08231",
        "allowance(address,address)": "dd62ed3e",
        "approve(address,uint256)": "095ea7b3",
        "increaseAllowance(address,uint256)": "39509351",
        "decreaseAllowance(address,uint256)": "a457c2d7",
        "transfer(address,uint256)": "a9059cbb",
        "transferFrom(address,address,uint256)": "23b872dd",
        "decimals()": "313ce567",
        "symbol()": "95d89b41",
        "totalSupply()": "18160ddd",
    },
    "ProviderManager": {
        "getProvider(address)": "55f21eb7",
        "getProviderPrices(address)": "106859b6",
        "getProviderHardware(address)": "e5500e40",
        "getLabels(address)": "95473b2b",
        "isValidForScheduling(address)": "21457c7e",
        "isWaitingForApproval(address)": "220f0e4c",
        "isBanned(address)": "97f735d5",
        "getJobCount(address)": "6830cdc4",
        "head()": "8f7dcfa3",
        "elementCount()": "67be4673",
        "fetchPage(uint256,uint256)": "6519bfa6",
    },
    "Constants": {
        "minimumAmount()": "bb0c8298",
        "billDurationDeltaMinute()": "b9590171",
        "topUpSliceDurationMin()": "8ce9843b",
        "deepsquareCut()": "a234d90f",
        "claimJobTimeout()": "d6aa37a6",
        "cancellationFeeMinute()": "d7f37cc6",
    },
}
EVENTS = {
    "NewJobRequestEvent(bytes32,address)": "1b831e90",
    f"ClaimJobEvent(address,address,bytes32,uint64,{DEFINITION})": "c8d7c7c2",
    "ClaimNextCancellingJobEvent(address,address,bytes32)": "290fa751",
    "ClaimNextTopUpJobEvent(bytes32,address,uint64)": "a42f2b4a",
    "JobRefusedEvent(bytes32,address,address)": "50d9c3fa",
    "BilledTooMuchEvent(bytes32,address,uint256)": "17e65314",
    "JobTransitionEvent(bytes32,uint8,uint8)": "0bba917f",
    "JobCreated(bytes32)": "f07e304c",
    "Transfer(address,address,uint256)": "ddf252ad",
    "Approval(address,address,uint256)": "8c5be1e5",
    "ProviderWaitingForApproval(address)": "499ee8b6",
}
ERRORS = {
    "InsufficientFunds(uint256,uint256)": "03eb8b54",
    "InvalidJobDefinition()": "d208e590",
    "NewJobRequestDisabled()": "3abe75b3",
    "CustomerOnly(address,address)": "89423319",
    "JobHotStatusOnly(uint8)": "8c6824c2",
    "RunningScheduledStatusOnly(uint8)": "ed3e2aad",
    "NoSpendingAuthority()": "42f99019",
    "RemainingTimeAboveLimit(uint256,uint256)": "9003b68a",
    "CustomerMetaSchedulerProviderOnly()": "7897ef6d",
    "JobProviderOnly(address,address)": "32e3065c",
    "MetaScheduledScheduledStatusOnly(uint8)": "090713fe",
    "ProviderNotJoined()": "ef341f6d",
    "InvalidTransition(uint8,uint8)": "2fef82f8",
    "SameStatusError()": "2a856fc9",
    "InvalidJob()": "71c8f460",
    "NoJob()": "97736927",
    "OutOfBounds()": "b4120f14",
    "NoProvider()": "3a43ca41",
    "WaitingApprovalOnly()": "2a9126eb",
}


@pytest.mark.parametrize("contract", FUNCTIONS)
def test_every_function_has_the_selector_that_clients_call(contract: str) -> None:
    selectors = compile_contracts()[contract].selectors
    for signature, expected in FUNCTIONS[contract].items():
        assert keccak(text=signature)[:4].hex() == expected
        assert int(selectors[signature], 16) == int(expected, 16)


def test_every_event_has_the_topic_that_clients_filter_for() -> None:
    declared = {
        _signature(entry): entry
        for contract in compile_contracts().values()
        for entry in contract.abi
        if entry["type"] == "event"
    }
    for signature, expected in EVENTS.items():
        assert topic(signature)[2:10] == expected
        indexed = [entry["indexed"] for entry in declared[signature]["inputs"]]
        assert any(indexed) is (signature.startswith(("Transfer", "Approval")))


def test_every_error_has_the_selector_that_clients_decode() -> None:
    sources = "".join(path.read_text() for path in SOURCES.glob("*.vy"))
    raised = set(re.findall(r'method_id\(\s*"([^"]+)"\)', sources))
    assert raised == set(ERRORS)
    for signature, expected in ERRORS.items():
        assert keccak(text=signature)[:4].hex() == expected


def test_the_role_is_the_hash_of_its_name() -> None:
    expected = "34fe770ac2473ec704bda003df1f7ec520ba6602bc5ebb22f4d41610283d996e"
    assert keccak(text="METASCHEDULER_ROLE").hex() == expected


def test_calldata_of_the_vectors() -> None:
    key = (1234).to_bytes(32, "big")
    spender = "0x7524fBB0c1e099A4A472C5A7b0B1E1E3aBd3fE97"
    arguments = (DEFINITION_VECTOR, 1000 * CREDIT, b"sd-grid 42", False)
    request = bytes.fromhex(calldata(REQUEST, *arguments)[2:])
    assert len(request) == 740
    assert request[:4].hex() == "d9943788"
    assert request[4 + 0x20 : 4 + 0x40].hex().endswith("3635c9adc5dea00000")
    filters = [(("gpu", "nvidia"), b"in"), (("compute.gflops", "1000"), b">")]
    filtered = (*DEFINITION_VECTOR[:6], [], filters)
    request = bytes.fromhex(calldata(REQUEST, filtered, *arguments[1:])[2:])
    assert len(request) == 1092
    digest = "8818c84b609d55e791217a2e712b674b5a73dd5050501e7127675e7d5685382f"
    assert keccak(request).hex() == digest
    assert calldata("approve(address,uint256)", spender, 1000 * CREDIT) == (
        "0x095ea7b30000000000000000000000007524fbb0c1e099a4a472c5a7b0b1e1e3abd3fe97"
        "00000000000000000000000000000000000000000000003635c9adc5dea00000"
    )
    assert calldata("cancelJob(bytes32)", key) == "0x5fae1450" + key.hex()
    assert calldata("topUpJob(bytes32,uint256)", key, 50 * CREDIT).endswith("02b5e3af16b1880000")


def test_sources_are_compiled_once(tmp_path: Path) -> None:
    compile_contracts()
    for kept in COMPONENTS.glob("contracts-*.json"):
        shutil.copy2(kept, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert compile_contracts(tmp_path)["Constants"].bytecode.startswith("0x")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def _signature(entry: dict[str, object]) -> str:
    inputs = entry["inputs"]
    assert isinstance(inputs, list)
    return f"{entry['name']}({','.join(_type(part) for part in inputs)})"


def _type(part: dict[str, object]) -> str:
    kind = str(part["type"])
    components = part.get("components")
    if not kind.startswith("tuple") or not isinstance(components, list):
        return kind
    return f"({','.join(_type(inner) for inner in components)}){kind[5:]}"
