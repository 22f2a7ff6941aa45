"""A provider's machine: turns a fetched job into the bash script that this machine can run.

The script comes from the bot's own renderer and the local backend's stand-ins for container
images: the one thing that is not independent of what is tested here, and that is tested elsewhere.
"""

from __future__ import annotations

import os
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
        source = (document.pop("input", None) or {}).get("http")
        try:
            if source is not None:
                _download(source["url"], folder / "scratch" / "input")
            workflow = Workflow.from_dict(document)
            script = self._site.script(Submission(name, workflow))
        except WorkflowError as error:
            # The real renderer knows more than ours; say so where a test's author will look.
            script = f"cat <<'END'\nthis test grid cannot run the job: {error}\nEND\nexit 1\n"
        except urllib.error.URLError:
            script = "echo '--- Job has started ---'; exit 8"  # wget is quiet, and fails the job
        return folder, script, environment


def _download(url: str, folder: Path) -> None:
    """Do as the real script: ``wget -q`` into the input folder, then unpack what is an archive."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = urlsplit(url)
    name = parts.path.rpartition("/")[2] or "index.html"
    path = folder / (f"{name}?{parts.query}" if parts.query else name)
    with urllib.request.urlopen(url, timeout=10) as answer:  # a test's own server
        path.write_bytes(answer.read())
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
