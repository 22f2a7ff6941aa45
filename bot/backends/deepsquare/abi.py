"""The ABI of DeepSquare's contracts as far as a customer uses it.

Selectors and topics follow from the signatures; the tests compare them with the published ones.
Amounts are in wei of credit (10^18 to the credit), times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from bot.domain import text

CREDIT = 10**18
NAME_BYTES = 32

LABEL = "(string,string)"
AFFINITY = f"({LABEL},bytes2)"
DEFINITION = f"(uint64,uint64,uint64,uint64,string,uint8,{LABEL}[],{AFFINITY}[])"
COST = "(uint256,uint256,uint256,bool)"
TIME = "(uint256,uint256,uint256,uint256,uint256,uint256)"
JOB = f"(bytes32,uint8,address,address,{DEFINITION},{COST},{TIME},bytes32,bool,string,int64)"
HARDWARE = "(uint64,uint64[],uint64[],uint64[])"
PRICES = "(uint256,uint256,uint256)"
PROVIDER = f"(address,{HARDWARE},{PRICES},{LABEL}[],bool)"

NO_OUTPUT = 4
"""The storage type of a job without an ``output``: its steps publish by themselves."""


class Status(IntEnum):
    """A job's status on the chain. It is not monotonic: 1 and 2 may fall back to 0."""

    PENDING = 0
    META_SCHEDULED = 1
    SCHEDULED = 2
    RUNNING = 3
    CANCELLED = 4
    FINISHED = 5
    FAILED = 6
    OUT_OF_CREDITS = 7
    PANICKED = 8

    @property
    def is_terminal(self) -> bool:
        """Return whether the status is final and the job is paid."""
        return self >= Status.CANCELLED


class Function:
    """A contract function: encodes calls and decodes results."""

    __slots__ = ("_inputs", "_outputs", "selector", "signature")

    def __init__(self, name: str, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> None:
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self.signature = f"{name}({','.join(inputs)})"
        self.selector = bytes(keccak(text=self.signature)[:4])

    def __repr__(self) -> str:
        return self.signature

    def encode_call(self, *values: Any) -> HexBytes:
        """Return the call data."""
        return HexBytes(self.selector + encode(self._inputs, values))

    def decode(self, answer: bytes) -> tuple[Any, ...]:
        """Decode the result. Raises eth_abi's DecodingError."""
        return tuple(decode(self._outputs, answer))


class Event:
    """A contract event whose fields are all in its data (none of DeepSquare's is indexed)."""

    __slots__ = ("_fields", "signature", "topic")

    def __init__(self, name: str, fields: Sequence[str]) -> None:
        self._fields = tuple(fields)
        self.signature = f"{name}({','.join(fields)})"
        self.topic = HexBytes(keccak(text=self.signature))

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """Decode the values of its fields."""
        return tuple(decode(self._fields, data))


# MetaScheduler
REQUEST_NEW_JOB = Function(
    "requestNewJob", (DEFINITION, "uint256", "bytes32", "bool"), ("bytes32",)
)
CANCEL_JOB = Function("cancelJob", ("bytes32",))
TOP_UP_JOB = Function("topUpJob", ("bytes32", "uint256"))
CREDIT_TOKEN = Function("credit", (), ("address",))
JOBS = Function("jobs", (), ("address",))
PROVIDER_MANAGER = Function("providerManager", (), ("address",))
CONSTANTS = Function("constants", (), ("address",))
ENABLE_REQUEST_NEW_JOB = Function("enableRequestNewJob", (), ("bool",))
NEW_JOB_REQUEST = Event("NewJobRequestEvent", ("bytes32", "address"))

# JobRepository
GET_JOB = Function("get", ("bytes32",), (JOB,))
GET_BY_CUSTOMER = Function("getByCustomer", ("address",), ("bytes32[]",))
JOB_TRANSITION = Event("JobTransitionEvent", ("bytes32", "uint8", "uint8"))

# Credit, an ERC-20 token
BALANCE_OF = Function("balanceOf", ("address",), ("uint256",))
ALLOWANCE = Function("allowance", ("address", "address"), ("uint256",))
APPROVE = Function("approve", ("address", "uint256"), ("bool",))

# ProviderManager and Constants
GET_PROVIDER = Function("getProvider", ("address",), (PROVIDER,))
IS_VALID_FOR_SCHEDULING = Function("isValidForScheduling", ("address",), ("bool",))
PROVIDER_WAITING = Event("ProviderWaitingForApproval", ("address",))
MINIMUM_AMOUNT = Function("minimumAmount", (), ("uint256",))


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """A job's resources as the contract takes them; price and provider follow from them.

    ``gpus`` is for the whole job, ``mem_per_cpu`` in megabytes. ``script`` is the hash that the
    script service gave (batchLocationHash). ``affinity`` holds (key, operator, value).
    """

    gpus: int
    mem_per_cpu: int
    cpus_per_task: int
    tasks: int
    script: str
    uses: tuple[tuple[str, str], ...] = ()
    affinity: tuple[tuple[str, str, str], ...] = ()
    storage: int = NO_OUTPUT

    def abi(self) -> tuple[Any, ...]:
        """Return the tuple in the contract's order: gpus first, tasks fourth."""
        if not self.script:
            # The contract would take the credits for a job that no provider can run.
            raise ValueError("a job needs a script")
        return (
            self.gpus,
            self.mem_per_cpu,
            self.cpus_per_task,
            self.tasks,
            self.script,
            self.storage,
            self.uses,
            tuple(((key, value), encode_operator(op)) for key, op, value in self.affinity),
        )


@dataclass(frozen=True, slots=True)
class ChainJob:
    """A job as JobRepository.get returns it; amounts in wei of credit, times in Unix seconds."""

    number: int
    status: Status
    customer: str
    provider: str
    gpus: int
    mem_per_cpu: int
    cpus_per_task: int
    tasks: int
    script: str
    max_cost: int
    final_cost: int
    submitted: int
    started: int
    ended: int
    name: bytes
    cancel_requested: bool
    last_error: str
    exit_code: int

    @classmethod
    def decode(cls, answer: bytes) -> ChainJob:
        """Decode the result of JobRepository.get."""
        (job,) = GET_JOB.decode(answer)
        number, status, customer, provider, definition, cost, time, name, asked, error, code = job
        gpus, mem_per_cpu, cpus_per_task, tasks, script, *_ = definition
        return cls(
            number=int.from_bytes(number, "big"),
            status=Status(status),
            customer=customer,
            provider=provider,
            gpus=gpus,
            mem_per_cpu=mem_per_cpu,
            cpus_per_task=cpus_per_task,
            tasks=tasks,
            script=script,
            max_cost=cost[0],
            final_cost=cost[1],
            submitted=time[0],
            started=time[1],
            ended=time[2],
            name=bytes(name),
            cancel_requested=asked,
            last_error=error,
            exit_code=code,
        )

    @property
    def never_ran(self) -> bool:
        """Return whether it ended before it started: whatever runs costs at least a minute."""
        return self.status in (Status.CANCELLED, Status.FAILED) and self.final_cost == 0


def encode_job_name(text: str) -> bytes:
    """Encode a job's name: UTF-8, zero-padded to 32 bytes. Raises ValueError if it is longer."""
    name = text.encode()
    if len(name) > NAME_BYTES:
        raise ValueError(f"a job's name holds {NAME_BYTES} bytes; this one has {len(name)}")
    return name.ljust(NAME_BYTES, b"\0")


def encode_operator(operator: str) -> bytes:
    """Encode an affinity's operator as bytes2."""
    return operator.encode("ascii").ljust(2, b"\0")


def encode_job_number(number: int) -> bytes:
    """Encode a job's number as bytes32."""
    return number.to_bytes(32, "big")


def log_name(number: int) -> str:
    """Return the name of a job's log: 0x and 64 lower-case hex digits."""
    return "0x" + encode_job_number(number).hex()


def to_credits(wei: int) -> Decimal:
    """Convert wei to credits, exactly."""
    return Decimal(wei).scaleb(-18)


def to_wei(amount: Decimal) -> int:
    """Convert credits to wei, rounded up so that the amount still covers its purpose."""
    scaled = amount.scaleb(18)
    whole = int(scaled)
    return whole + (scaled > whole)


def format_credits(wei: int) -> str:
    """Return wei as credits in words, as ``bot.domain.text.format_credits`` writes them."""
    return text.format_credits(to_credits(wei))
