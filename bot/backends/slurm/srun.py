"""Start the commands of a job's steps with ``srun``, inside the job's allocation.

The options are those that let the rows of a grid run side by side, on different GPUs, as measured
with Slurm 22.05.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.backends.slurm.options import SlurmOptions
from bot.domain.workflow.document import Resources, Run

# Two workarounds for srun.
#
# It forwards output in pieces of at most 1 KiB, so a long line of one row can be split by a marker
# of another, which is then invalid. The shell writes whole lines into the log, one write for each
# up to 4 KiB, and ends the last one; no line waits for the next.
#
# And it fails where the controller is down at the moment a step begins, though running steps are
# not affected. It says so before anything was started, so it can be retried.
_STEP_SCRIPT = """\
set -o pipefail
away="$STORAGE_PATH/.away-$$"
while :; do
  "$@" 2>&1 | while IFS= LC_ALL=C read -r line || [ -n "$line" ]; do
    printf '%s\\n' "$line"
    case $line in
      "srun: error: Unable to co"*" for job "*": Unable to contact"*) : > "$away" ;;
      "srun: error: Unable to create step for job "*": Unable to contact"*) : > "$away" ;;
    esac
  done
  code=$?
  if [ "$code" -eq 0 ] || [ ! -e "$away" ]; then exit "$code"; fi
  rm -f "$away"
  until scontrol ping 2>/dev/null | grep -q "is UP"; do sleep 1; done
  sleep 5
done"""

# The log shows that rows ran side by side on GPUs of their own.
_PRINT_DEVICES = (
    "printf 'On node %s, CUDA_VISIBLE_DEVICES=%s\\n' "
    '"${SLURMD_NODENAME:-unknown}" "${CUDA_VISIBLE_DEVICES:-}"; exec "$@"'
)


@dataclass(frozen=True, slots=True)
class SrunLauncher:
    """Run each command as a step of the job."""

    options: SlurmOptions

    def command_prefix(self, run: Run, resources: Resources, name: str) -> tuple[str, ...]:
        """Return the ``srun`` command line for the command's share of the job.

        ``--exact`` keeps a step from taking the whole job, ``--nodes=1`` lets a single task run on
        any free node. ``--export`` is explicit, because sbatch's own would override it.
        """
        requested = run.resources
        gpus = self.options.gpu_args(requested.gpus_per_task)
        arguments = [
            *("bash", "-c", _STEP_SCRIPT, "step"),
            *("srun", "--exact", f"--ntasks={requested.tasks}", "--export=ALL"),
            f"--cpus-per-task={requested.cpus_per_task or resources.cpus_per_task}",
            f"--mem-per-cpu={requested.mem_per_cpu or resources.mem_per_cpu}M",
            *(gpus or ("--gres=none",)),
        ]
        if requested.tasks == 1:
            arguments.append("--nodes=1")
        if run.disable_cpu_binding:
            arguments.append("--cpu-bind=none")
        if run.mpi is not None:
            arguments.append(f"--mpi={run.mpi}")
        if gpus:
            arguments += ["sh", "-c", _PRINT_DEVICES, "row"]
        return tuple(arguments)
