"""One of several bot processes on one wallet: submits many jobs side by side.

python -m tests.deepsquare.paying_program OPTIONS PREFIX COUNT
"""

from __future__ import annotations

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path

from bot.backends import deepsquare
from tests.backends.jobs import submission
from tests.deepsquare.clients import IMPATIENT


async def main(path: str, prefix: str, count: int) -> None:
    """Submit them all at once."""
    options = json.loads(Path(path).read_text())
    options["trusted_hosts"] = tuple(options["trusted_hosts"])
    for name in ("lock_credits", "max_credits_per_job"):
        options[name] = Decimal(options[name])
    backend = await deepsquare.open(options | {"timeouts": IMPATIENT})
    jobs = [submission(f"{prefix}-{n}", backend.upload_url("")) for n in range(count)]
    await asyncio.gather(*(backend.submit(job) for job in jobs))
    await backend.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
