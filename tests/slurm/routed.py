"""Two real clusters behind one set of client programs, told apart by ``--clusters``.

Slurm itself needs an accounting database to know clusters by name. These programs stand in for
that part alone: they read ``--clusters`` and ``-M`` as the real ones do, and call the real ones
with the configuration of each cluster. What they print around the answers of several clusters is
what 22.05 prints.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.slurm.cluster import SEARCH, Cluster

PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
_PROGRAM = """\
#!{python} -ES
import json, os, re, subprocess, sys
known = json.loads({known!r})
program, real = os.path.basename(sys.argv[0]), json.loads({real!r})
words, wanted, rest = iter(sys.argv[1:]), "", []
for word in words:
    option = re.fullmatch(r"--clusters?(?:=(.*))?|-M(.+)?", word)
    if option:
        wanted = option[1] or option[2] or next(words)
    else:
        rest.append(word)
with open({calls!r}, "a") as calls:
    calls.write(json.dumps([program, wanted, *rest]) + "\\n")
names = [name for name in wanted.split(",") if name] or [""]
for name in names:
    if name not in known:
        sys.exit(f"{{program}}: error: '{{name}}' can't be reached now, or it is an invalid entry "
                 "for --cluster.  Use 'sacctmgr list clusters' to see available clusters.")
if program == "sbatch":
    names = names[-1:]  # of several, the one that would start it first
for name in names:
    if name and program in ("squeue", "sinfo") and "--noheader" not in rest:
        print("CLUSTER: " + name)
    environ = dict(os.environ, SLURM_CONF=known[name])
    done = subprocess.run([real[program], *rest], env=environ, stdout=subprocess.PIPE, text=True)
    out = done.stdout
    if name and program == "sbatch" and "--parsable" in rest:
        out = out.rstrip("\\n") + ";" + name + "\\n"
    sys.stdout.write(out)
    if done.returncode:
        sys.exit(done.returncode)
"""


class Routed:
    """A folder for the front of the PATH; ``clusters`` by name, "" the one without a name."""

    def __init__(self, folder: Path, clusters: Mapping[str, Cluster]) -> None:
        folder.mkdir(parents=True)
        self._calls = folder / "calls"
        known = json.dumps({name: str(one.configuration) for name, one in clusters.items()})
        real = json.dumps({name: shutil.which(name, path=SEARCH) for name in PROGRAMS})
        text = _PROGRAM.format(
            python=sys.executable, known=known, real=real, calls=str(self._calls)
        )
        for name in PROGRAMS:
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.path = f"{folder}{os.pathsep}{SEARCH}"

    def asked(self, program: str) -> set[str]:
        """The clusters that a program was told, "" for none."""
        calls = [json.loads(line) for line in self._calls.read_text().splitlines()]
        return {call[1] for call in calls if call[0] == program}
