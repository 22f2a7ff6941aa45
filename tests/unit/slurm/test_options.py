"""The options, and the command lines that follow from them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bot.backends.slurm.options import SlurmOptions
from bot.backends.slurm.srun import SrunLauncher
from bot.domain.errors import ConfigError
from bot.domain.resources import DEFAULT_RESOURCES, ResourceRequest
from bot.domain.workflow.document import Resources, Run, RunResources
from bot.domain.workflow.template import render
from tests.stock_jobs import load, request, ticket

RESOURCES = Resources(tasks=4, cpus_per_task=2, mem_per_cpu=8000, gpus=4)
ROW = RunResources(gpus_per_task=1)


def options(**values: object) -> SlurmOptions:
    return SlurmOptions.from_mapping({"shared_dir": "/shared", "data_dir": "/data", **values})


def test_the_shared_folder_must_be_named() -> None:
    for missing in ({}, {"shared_dir": None}):
        with pytest.raises(ConfigError, match=r"shared_dir.*every node"):
            SlurmOptions.from_mapping(missing)


def test_a_gpu_type_that_would_be_another_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="no GPU type"):
        options(gpus="a100 --wrap=true")


def test_gpus_and_memory_are_asked_for_by_task_and_by_cpu() -> None:
    words = options().sbatch_args(RESOURCES)
    assert words == (
        "--ntasks=4",
        "--cpus-per-task=2",
        "--mem-per-cpu=8000M",
        "--gpus-per-task=1",
    )
    fewer = Resources(tasks=4, cpus_per_task=1, mem_per_cpu=100, gpus=2)
    assert "--gpus-per-task=1" in options().sbatch_args(fewer)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (DEFAULT_RESOURCES, {"--cpus-per-task=2", "--mem-per-cpu=8000M", "--gpus-per-task=1"}),
        (ResourceRequest(8, 30_000, 2), {"--mem-per-cpu=3750M", "--gpus-per-task=2"}),
        (ResourceRequest(3, 1000, 0), {"--cpus-per-task=3", "--mem-per-cpu=334M"}),
    ],
)
def test_the_configured_resources_reach_sbatch_and_srun(
    asked: ResourceRequest, words: set[str]
) -> None:
    workflow = render(load("stable-diffusion.yaml"), request(), replace(ticket(), resources=asked))
    loop = workflow.steps[1].loop
    assert loop is not None
    row = loop.steps[0].run
    assert row is not None
    job = options().sbatch_args(workflow.resources)
    step = SrunLauncher(options()).command_prefix(row, workflow.resources, "paint one row")
    for arguments in (job, step):
        assert words <= set(arguments)
        assert any("--gpus" in word for word in arguments) is (asked.gpus_per_task > 0)


@pytest.mark.parametrize(
    ("gpus", "word"), [("any", "--gpus-per-task=1"), ("a100", "--gpus-per-task=a100:1")]
)
def test_a_row_takes_gpus_of_the_wanted_kind(gpus: str, word: str) -> None:
    words = SrunLauncher(options(gpus=gpus)).command_prefix(
        Run("true", resources=ROW), RESOURCES, "paint"
    )
    assert word in words
    assert {"--exact", "--ntasks=1", "--nodes=1", "--export=ALL"} <= set(words)
    assert {"--cpus-per-task=2", "--mem-per-cpu=8000M"} <= set(words)


def test_a_cluster_without_gpus_is_asked_for_none() -> None:
    without = options(gpus="none")
    assert not [word for word in without.sbatch_args(RESOURCES) if "gpu" in word]
    words = SrunLauncher(without).command_prefix(Run("true", resources=ROW), RESOURCES, "paint")
    assert "--gres=none" in words


def test_a_step_s_own_resources_come_before_the_job_s() -> None:
    wanted = RunResources(tasks=2, cpus_per_task=1, mem_per_cpu=50)
    run = Run("true", resources=wanted, disable_cpu_binding=True, mpi="pmi2")
    words = SrunLauncher(options()).command_prefix(run, RESOURCES, "mpi")
    assert {"--ntasks=2", "--cpus-per-task=1", "--mem-per-cpu=50M"} <= set(words)
    assert {"--gres=none", "--cpu-bind=none", "--mpi=pmi2"} <= set(words)
    assert "--nodes=1" not in words


def test_the_operator_s_own_arguments_come_last() -> None:
    place = options(partition="gpu", account="art", extra_args=("--partition=other",))
    assert place.partition_args() == ("--partition=gpu", "--account=art", "--partition=other")
    assert options().partition_args() == ()


def test_a_model_computes_on_gpus_where_there_are_some() -> None:
    assert options().txt2img_device == "cuda"
    assert options(gpus="none").txt2img_device == "cpu"
    assert options(engine="sketch").txt2img_device == "cpu"
    assert options(gpus="none", device="cuda").txt2img_device == "cuda"


def test_only_what_slurm_needs_leaves_the_bot_s_environment() -> None:
    environ = {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
        "DISCORD_TOKEN": "secret",
        "CUDA_VISIBLE_DEVICES": "3",
        "SBATCH_PARTITION": "other",
    }
    assert options(environ=environ).environment == {
        "PATH": "/bin",
        "SLURM_CONF": "/etc/slurm.conf",
    }


def test_the_nodes_run_the_bot_s_python_unless_told_otherwise() -> None:
    assert options().interpreter == sys.executable
    assert options(python="/opt/python").interpreter == "/opt/python"
    assert options().shared_dir == Path("/shared")


@pytest.mark.parametrize(
    ("values", "worker", "config"),
    [
        ({"engine": "sketch"}, False, False),
        ({"engine": "auto"}, False, False),
        ({"engine": "auto", "model": "/models/sd"}, True, True),
        ({"engine": "diffusers", "model": "/models/sd"}, True, True),
        ({"engine": "diffusers", "model": "/m", "container": "apptainer"}, False, False),
        ({"engine": "diffusers", "worker": {"enabled": False}}, False, True),
        ({"engine": "comfyui", "comfyui": {"urls": ["http://a"]}}, False, True),
        ({"engine": "comfyui", "models": {"m": {"engine": "diffusers"}}}, True, True),
    ],
)
def test_rows_share_a_worker_where_they_load_models(
    values: dict[str, object], worker: bool, config: bool
) -> None:
    found = options(**values)
    assert (found.uses_worker, found.uses_config) == (worker, config)
