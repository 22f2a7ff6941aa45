"""Wait for one of N task slots of this machine, then exec the command.

    python task_slots.py [--gpus=ID,ID] FOLDER COUNT COMMAND [ARGUMENT ...]

With ``--gpus`` each slot has one of these GPUs for itself (``CUDA_VISIBLE_DEVICES``). A slot is a
locked file. The lock stays with the process that the command becomes and its children, so the
kernel releases it however they end, and jobs that outlive the bot keep counting. A program of its
own: it imports nothing of the bot.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

POLL_SECONDS = 0.05


_GPUS = "--gpus="


def acquire_slot(folder: str, count: int) -> tuple[int, int]:
    """Lock a free slot; return its number and file descriptor. Blocks until one is free."""
    os.makedirs(folder, exist_ok=True)
    while True:
        for number in range(count):
            path = os.path.join(folder, f"slot-{number}")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                os.set_inheritable(descriptor, True)
                return number, descriptor
        time.sleep(POLL_SECONDS)


def main(arguments: list[str]) -> None:
    """Acquire a slot and exec the command."""
    gpus: list[str] = []
    if arguments[0].startswith(_GPUS):
        gpus = arguments[0].removeprefix(_GPUS).split(",")
        arguments = arguments[1:]
    folder, count, *command = arguments
    number, _ = acquire_slot(folder, int(count))
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    os.execvp(command[0], command)  # noqa: S606  # becoming the command keeps the lock


if __name__ == "__main__":
    main(sys.argv[1:])
