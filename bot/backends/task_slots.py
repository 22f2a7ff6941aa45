"""Wait for one of N task slots of this machine, then exec the command.

    python task_slots.py FOLDER COUNT COMMAND [ARGUMENT ...]

A slot is a locked file. The lock stays with the process that the command becomes and its children,
so the kernel releases it however they end, and jobs that outlive the bot keep counting. A program
of its own: it imports nothing of the bot.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

POLL_SECONDS = 0.05


def acquire_slot(folder: str, count: int) -> int:
    """Lock a free slot and return its file descriptor. Blocks until one is free."""
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
                return descriptor
        time.sleep(POLL_SECONDS)


def main(arguments: list[str]) -> None:
    """Acquire a slot and exec the command."""
    folder, count, *command = arguments
    acquire_slot(folder, int(count))
    os.execvp(command[0], command)  # noqa: S606  # becoming the command keeps the lock


if __name__ == "__main__":
    main(sys.argv[1:])
