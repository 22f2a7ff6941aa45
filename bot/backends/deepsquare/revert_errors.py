"""Decode revert data and map it to BackendErrors.

The contracts' errors are listed here because libraries and other contracts raise most of them, so
no ABI of the called contract has them.
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

INSUFFICIENT_ALLOWANCE = "insufficient allowance"
INSUFFICIENT_BALANCE = "transfer amount exceeds balance"


@dataclass(frozen=True, slots=True)
class Revert:
    """A decoded revert: the error's ``name`` and argument ``values``; "" without data."""

    name: str
    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.name or 'no reason given'}{self.values if self.values else ''}"


class ContractReverted(BackendError):
    """A contract reverted a call; ``revert`` says why. The caller maps it further."""

    def __init__(self, revert: Revert) -> None:
        super().__init__(f"the contract refused: {revert}")
        self.revert = revert


def decode_revert(data: bytes) -> Revert:
    """Decode revert data; of an unknown error only the selector is kept."""
    name = SELECTORS.get(data[:4])
    if name is None:
        return Revert(f"0x{data[:4].hex()}" if data else "")
    try:
        return Revert(name, tuple(decode(_TYPES[name], data[4:])))
    except DecodingError:
        return Revert(name)


def to_backend_error(revert: Revert) -> BackendError:
    """Map a reverted requestNewJob to a BackendError; its text is for the operator."""
    match revert:
        case Revert("Error", (str(text),)) if INSUFFICIENT_ALLOWANCE in text:
            return InsufficientFunds(
                "the allowance is lower than what the job locks; "
                "raise the allowance with `gridbrush wallet`"
            )
        case Revert("Error", (str(text),)) if INSUFFICIENT_BALANCE in text:
            return InsufficientFunds(
                "the wallet holds fewer credits than the job locks; buy credits"
            )
        case Revert("InsufficientFunds", (int(available), int(required))):
            return SubmissionRejected(
                f"a job locks at least {format_credits(required)} credits, "
                f"this one {format_credits(available)}; raise [backend.deepsquare] lock_credits"
            )
        case Revert("NewJobRequestDisabled"):
            return Unavailable(
                "this MetaScheduler takes no new jobs; "
                "set [backend.deepsquare] meta_scheduler to the current contract"
            )
        case _:
            return SubmissionRejected(f"the MetaScheduler refused the job: {revert}")


def is_already_ended(revert: Revert) -> bool:
    """Return whether a reverted cancelJob means that the job has ended."""
    return revert.name == "JobHotStatusOnly"
