"""Why a contract refused: its revert data as a name with values, and as one of our errors.

The names of the contracts' own errors stand here because most of them are raised by libraries and
neighbours of the contract that is called and are in no ABI of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from bot.backends.deepsquare.abi import format_credits
from bot.domain.errors import BackendError, InsufficientFunds, SubmissionRejected, Unavailable

_TYPES: dict[str, tuple[str, ...]] = {
    "Error": ("string",),
    "Panic": ("uint256",),
    "InsufficientFunds": ("uint256", "uint256"),
    "InvalidJobDefinition": (),
    "NewJobRequestDisabled": (),
    "CustomerOnly": ("address", "address"),
    "JobHotStatusOnly": ("uint8",),
    "RunningScheduledStatusOnly": ("uint8",),
    "NoSpendingAuthority": (),
    "RemainingTimeAboveLimit": ("uint256", "uint256"),
    "CustomerMetaSchedulerProviderOnly": (),
    "JobProviderOnly": ("address", "address"),
    "MetaScheduledScheduledStatusOnly": ("uint8",),
    "RunningColdStatusOnly": ("uint8",),
    "ProviderNotJoined": (),
    "InvalidTransition": ("uint8", "uint8"),
    "SameStatusError": (),
    "InvalidJob": (),
    "NoJob": (),
    "Empty": (),
    "OutOfBounds": (),
    "NoProvider": (),
    "Banned": (),
    "WaitingApprovalOnly": (),
    "AlreadyDone": (),
    "ArrayLengthMismatch": (),
    "InvalidNodesCount": (),
    "InvalidTotalCpus": (),
    "InvalidTotalMem": (),
}
SELECTORS = {
    bytes(keccak(text=f"{name}({','.join(types)})")[:4]): name for name, types in _TYPES.items()
}

TOO_LITTLE_ALLOWED = "insufficient allowance"
TOO_LITTLE_HELD = "transfer amount exceeds balance"


@dataclass(frozen=True, slots=True)
class Revert:
    """A refusal: ``name`` is the error's, ``values`` its arguments; "" where there is no data."""

    name: str
    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.name or 'no reason given'}{self.values if self.values else ''}"


class ContractReverted(BackendError):
    """A contract refused a call; ``revert`` says why. Mapped further where the call is made."""

    def __init__(self, revert: Revert) -> None:
        super().__init__(f"the contract refused: {revert}")
        self.revert = revert


def decode_revert(data: bytes) -> Revert:
    """What revert data means; data that is nothing known becomes its selector."""
    name = SELECTORS.get(data[:4])
    if name is None:
        return Revert(f"0x{data[:4].hex()}" if data else "")
    try:
        return Revert(name, tuple(decode(_TYPES[name], data[4:])))
    except DecodingError:
        return Revert(name)


def to_backend_error(revert: Revert) -> BackendError:
    """A refused requestNewJob as the engine's error; the text is for the operator."""
    match revert:
        case Revert("Error", (str(text),)) if TOO_LITTLE_ALLOWED in text:
            return InsufficientFunds(
                "the MetaScheduler may not draw as many credits as the job locks; "
                "raise the allowance with `gridbrush wallet`"
            )
        case Revert("Error", (str(text),)) if TOO_LITTLE_HELD in text:
            return InsufficientFunds(
                "the wallet holds fewer credits than the job locks; buy credits"
            )
        case Revert("InsufficientFunds", (int(available), int(required))):
            return SubmissionRejected(
                f"a job locks at least {format_credits(required)} credits, this one {format_credits(available)}; "
                "raise [backend.deepsquare] lock_credits"
            )
        case Revert("NewJobRequestDisabled"):
            return Unavailable(
                "this MetaScheduler takes no new jobs any more; "
                "set [backend.deepsquare] meta_scheduler to the current contract"
            )
        case _:
            return SubmissionRejected(f"the MetaScheduler refused the job: {revert}")


def is_already_ended(revert: Revert) -> bool:
    """Whether a refused cancel says that the job has ended."""
    return revert.name == "JobHotStatusOnly"
