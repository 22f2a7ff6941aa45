"""A provider's machine: turns a fetched job into the bash script that this machine can run.

The script comes from the bot's own renderer and the local backend's stand-ins for container
images: the one thing that is not independent of what is tested here, and that is tested elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bot.backends.base import Submission
from bot.backends.local import LocalBackend, LocalOptions
from bot.domain.errors import WorkflowError
from bot.domain.workflow.document import Workflow
from tests.deepsquare.testnet.chain import GridJob


class Node:
    """Scripts and scratch folders below ``folder``; ``tasks`` commands at a time."""

    def __init__(self, folder: Path, tasks: int) -> None:
        options = LocalOptions(data_dir=folder, tasks=tasks, engine="sketch", environ=os.environ)
        self._site = LocalBackend(options)
        self._folder = folder
        self._prepared = False

    def prepare(self, job: GridJob, document: dict[str, Any]) -> tuple[Path, str, dict[str, str]]:
        """The job's folder, its script, and what of the environment it sees. Blocking."""
        if not self._prepared:
            self._site.prepare()
            self._prepared = True
        name = f"job-{int(job.job_id, 16)}"
        folder = self._folder / "local" / "jobs" / name
        folder.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "USER": job.customer.lower(),
            "SLURM_JOB_NAME": job.job_id,
        }
        try:
            workflow = Workflow.from_dict(document)
            script = self._site.script(Submission(name, workflow))
        except WorkflowError as error:
            # The real renderer knows more than ours; say so where a test's author will look.
            script = f"cat <<'END'\nthis test grid cannot run the job: {error}\nEND\nexit 1\n"
        return folder, script, environment
