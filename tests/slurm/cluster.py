"""A small Slurm cluster on this machine's loopback, for tests and for ``scripts/play-slurm``.

    python -m tests.slurm.cluster DIR                     one until Ctrl-C; prints how to use it
    python -m tests.slurm.cluster DIR gridbrush check     one for as long as a command runs

Every node is a ``slurmd`` of its own with fake GPUs (links to /dev/null); needs no privilege. The
daemons are children of this process, in the foreground, and authenticate with a munge key of their
own. It knows nothing of Gridbrush.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol", "slurmctld", "slurmd")
SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
CPUS, MEGABYTES = 8, 64_000
UP_SECONDS, DOWN_SECONDS = 30.0, 1.0
ATTEMPTS = 3

# 22.05 knows no "disabled" cgroup plugin; v1 with linuxproc never touches the cgroup file system.
_CGROUP = "CgroupPlugin=cgroup/v1\n"

_CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge/munge.sock
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PriorityType=priority/basic
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
MinJobAge=86400
MessageTimeout={message_timeout}
MailProg=/bin/true
KillWait=2
Waittime=0
NodeName=DEFAULT CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1
NodeName=DEFAULT RealMemory={megabytes} Gres=gpu:fake:{gpus} State=UNKNOWN
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=100
"""


def missing() -> tuple[str, ...]:
    """The programs of Slurm and munge that this machine lacks; none: a cluster can be started."""
    return tuple(name for name in (*PROGRAMS, "munged") if shutil.which(name, path=SEARCH) is None)


class Cluster:
    """Starts with ``up`` and ends with ``down``; the controller can also be taken away alone.

    While it is away a client gives up after about ``message_timeout`` seconds.
    """

    def __init__(
        self, root: Path, *, nodes: int = 4, gpus: int = 4, message_timeout: int = 10
    ) -> None:
        self._root = root.resolve()
        self._nodes = tuple(f"n{number}" for number in range(1, nodes + 1))
        self._gpus = gpus
        self._message_timeout = message_timeout
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._controller: subprocess.Popen[bytes] | None = None

    @property
    def configuration(self) -> Path:
        """The file that ``SLURM_CONF`` must name."""
        return self._root / "slurm.conf"

    @property
    def environ(self) -> dict[str, str]:
        """This process's environment, such that Slurm's programs talk to this cluster."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
        return {**kept, "PATH": SEARCH, "SLURM_CONF": str(self.configuration)}

    def ask(self, *command: str) -> str:
        """What a client program prints; empty if it fails."""
        done = subprocess.run(
            command, env=self.environ, check=False, capture_output=True, text=True, timeout=60
        )
        return done.stdout if done.returncode == 0 else ""

    def jobs(self, what: str, name: str = "") -> list[str]:
        """A word about each job, of all or of that name: ``%i``, ``%T`` as for squeue."""
        command = ("squeue", "--states=all", "--noheader", f"--format={what}")
        return self.ask(*command, *((f"--name={name}",) if name else ())).split()

    def up(self) -> None:
        """Start the daemons and wait until all nodes are idle. Raises RuntimeError."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._up()
            except RuntimeError:
                # A port that was free a moment ago may have been taken since.
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    def _up(self) -> None:
        self._configure()
        munge = self._root / "munge"
        options = {"key-file": "key", "socket": "munge.sock", "pid-file": "pid", "log-file": "log"}
        options["seed-file"] = "seed"
        named = [f"--{option}={munge / name}" for option, name in options.items()]
        self._start("munged", "-F", "--force", "--num-threads=2", *named)
        self._await((munge / "munge.sock").is_socket, "munged")
        self.start_controller()
        for node in self._nodes:
            self._start("slurmd", "-D", "-f", str(self.configuration), "-N", node)
        idle = f"{len(self._nodes)} idle"
        self._await(lambda: self.ask("sinfo", "-h", "-o", "%D %T").strip() == idle, "slurmd")

    def start_controller(self) -> None:
        """Start the controller and wait until it answers."""
        self._controller = self._start("slurmctld", "-D", "-f", str(self.configuration))
        self._await(lambda: "is UP" in self.ask("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """Take the controller away; the nodes and their jobs go on."""
        assert self._controller is not None
        self._end(self._controller)
        self._daemons.remove(self._controller)

    def forget(self) -> None:
        """Let a controller that is away come back without any record of jobs."""
        shutil.rmtree(self._root / "state")
        (self._root / "state").mkdir()

    def down(self) -> None:
        """End all jobs and daemons, whatever state they are in."""
        # Jobs and the slurmstepd above them outlive the daemons, so they are ended by themselves.
        for process in self._of_jobs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            self._end(daemon)
        self._daemons.clear()

    def _of_jobs(self) -> list[int]:
        """The processes of this cluster's jobs: known by their environment."""
        mine = f"SLURM_CONF={self.configuration}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environ = (process / "environ").read_bytes().split(b"\0")
                name = (process / "comm").read_text()
                in_job = any(entry.startswith(b"SLURM_JOB_ID=") for entry in environ)
                if mine in environ and (in_job or name.startswith("slurmstepd")):
                    found.append(int(process.name))
        return found

    def _configure(self) -> None:
        for name in ("munge", "state", "dev", *(f"spool-{node}" for node in self._nodes)):
            (self._root / name).mkdir(parents=True, exist_ok=True)
        (self._root / "munge").chmod(0o711)
        key = self._root / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        # Slurm counts a GPU only if it has a device file of its own.
        for number in range(self._gpus):
            device = self._root / "dev" / f"gpu{number}"
            if not device.is_symlink():
                device.symlink_to("/dev/null")
        ports = _free_ports(len(self._nodes) + 1)
        nodes = (
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port}"
            for node, port in zip(self._nodes, ports[1:], strict=True)
        )
        text = _CONFIGURATION.format(
            port=ports[0],
            root=self._root,
            user=pwd.getpwuid(os.getuid()).pw_name,
            cpus=CPUS,
            megabytes=MEGABYTES,
            gpus=self._gpus,
            message_timeout=self._message_timeout,
            nodes="\n".join(nodes),
        )
        self.configuration.write_text(text, encoding="utf-8")
        devices = f"{self._root}/dev/gpu[0-{self._gpus - 1}]"
        (self._root / "gres.conf").write_text(f"Name=gpu Type=fake File={devices}\n")
        (self._root / "cgroup.conf").write_text(_CGROUP)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._root / f"{command[0]}.out").open("ab") as out:
            daemon = subprocess.Popen(
                command,
                cwd=self._root,  # where a daemon that crashes leaves its core
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        return daemon

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + UP_SECONDS
        while not condition():
            died = [daemon for daemon in self._daemons if daemon.poll() is not None]
            if died or time.monotonic() > give_up:
                lines = (self._root / f"{what}.out").read_text().splitlines()[-5:]
                self.down()
                raise RuntimeError(f"{what} does not come up: " + " / ".join(lines))
            time.sleep(0.02)

    def _end(self, daemon: subprocess.Popen[bytes]) -> None:
        daemon.terminate()
        try:
            daemon.wait(DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def main() -> int:
    """Start a cluster in a folder, and keep it while a command runs or until a signal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if lacking := missing():
        print(f"Not installed: {', '.join(lacking)} (Debian: apt install slurm-wlm munge)")
        return 1
    cluster = Cluster(arguments.folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cluster.up()
        if arguments.command:
            return _run(arguments.command, cluster.environ)
        print(f"export SLURM_CONF={cluster.configuration}", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        return 130
    finally:
        cluster.down()
    return 0


def _run(command: list[str], environ: dict[str, str]) -> int:
    """The command's exit status. A Ctrl-C is the command's own: it is waited for."""
    with subprocess.Popen(command, env=environ) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
