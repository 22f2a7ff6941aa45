"""Slurm's answers in all the forms its versions give them."""

from __future__ import annotations

import json

import pytest

from bot.backends.slurm.squeue import SqueueRecord, parse_json_records, parse_text
from bot.domain.errors import Unavailable

JOB_22 = {
    "job_id": 7,
    "name": "fox",
    "job_state": "FAILED",
    "state_reason": "NonZeroExitCode",
    "exit_code": 1792,
    "restart_cnt": 1,
}
JOB_24 = {
    **JOB_22,
    "job_state": ["FAILED"],
    "exit_code": {
        "status": ["ERROR"],
        "return_code": {"set": True, "infinite": False, "number": 7},
        "signal": {"id": {"set": False, "infinite": False, "number": 0}, "name": ""},
    },
    "restart_cnt": 1,
}
EXPECTED = SqueueRecord("7", "fox", "FAILED", "NonZeroExitCode", 7, 1)


def answer(*jobs: object, errors: object = ()) -> str:
    return json.dumps({"meta": {}, "errors": errors, "jobs": jobs})


@pytest.mark.parametrize("job", [JOB_22, JOB_24], ids=["22.05", "24.05"])
def test_the_json_of_different_versions_says_the_same(job: dict[str, object]) -> None:
    assert parse_json_records(answer(job)) == (EXPECTED,)


def test_the_text_says_what_the_json_says() -> None:
    assert parse_text("7|FAILED|NonZeroExitCode|1792|1|fox\n") == (EXPECTED,)
    assert parse_text("7|FAILED|NonZeroExitCode|7:0|1|fox\n") == (EXPECTED,)
    assert parse_text("slurm says hello\n\n") == ()


def test_a_name_may_hold_the_sign_that_separates() -> None:
    assert parse_text("8|PENDING|Resources|0|0|a|b\n")[0].name == "a|b"


@pytest.mark.parametrize(("code", "status"), [("9", 137), ("0:15", 143), ("0", 0), ("?", None)])
def test_a_death_by_signal_counts_as_in_a_shell(code: str, status: int | None) -> None:
    assert parse_text(f"7|FAILED|None|{code}|x|fox\n")[0].exit_code == status


def test_a_death_by_signal_is_read_from_json_too() -> None:
    signal = {"id": {"set": True, "number": 9}, "name": "KILL"}
    job = {**JOB_24, "exit_code": {"return_code": {"set": True, "number": 0}, "signal": signal}}
    assert parse_json_records(answer(job))[0].exit_code == 137
    assert parse_json_records(answer({**JOB_22, "exit_code": None}))[0].exit_code is None


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["RUNNING"], "RUNNING"),
        (["COMPLETED", "COMPLETING"], "COMPLETING"),
        (["NODE_FAIL", "REQUEUED"], "REQUEUED"),
        (["RUNNING", "CONFIGURING"], "CONFIGURING"),
        ([], "UNKNOWN"),
    ],
)
def test_of_several_states_the_one_that_says_more_counts(states: list[str], state: str) -> None:
    assert parse_json_records(answer({**JOB_24, "job_state": states}))[0].state == state


# Every word that squeue prints for a state, from Slurm's job_state_string, and what follows.
STATES = {
    "PENDING": "is_pending",
    "CONFIGURING": "is_pending",
    "REQUEUED": "is_pending",
    "REQUEUE": "is_pending",
    "REQUEUE_HOLD": "is_pending",
    "REQUEUE_FED": "is_pending",
    "SPECIAL_EXIT": "is_pending",
    "RESV_DEL_HOLD": "is_pending",
    "POWER_UP_NODE": "is_pending",
    "EXPEDITING": "is_pending",
    "RUNNING": "is_running",
    "COMPLETING": "is_running",
    "STAGE_OUT": "is_running",
    "SUSPENDED": "is_running",
    "STOPPED": "is_running",
    "RESIZING": "is_running",
    "SIGNALING": "is_running",
    "REVOKED": "alive",
    "UPDATE_DB": "alive",
    "LAUNCH_FAILED": "alive",
    "RECONFIG_FAIL": "alive",
    "SOMETHING_NEW": "alive",
    "COMPLETED": "is_ended",
    "CANCELLED": "is_ended",
    "FAILED": "is_ended",
    "TIMEOUT": "is_ended",
    "DEADLINE": "is_ended",
    "NODE_FAIL": "is_ended",
    "BOOT_FAIL": "is_ended",
    "OUT_OF_MEMORY": "is_ended",
    "PREEMPTED": "is_ended",
}


def meaning(record: SqueueRecord) -> str:
    found = [name for name in ("is_pending", "is_running", "is_ended") if getattr(record, name)]
    return "alive" if not found else " and ".join(found)


@pytest.mark.parametrize("state", STATES)
def test_each_state_means_the_same_in_every_form(state: str) -> None:
    forms = [
        parse_text(f"7|{state}|None|0|0|fox\n"),
        parse_text(f"7|{state.lower()}|None|0|0|fox\n"),
        parse_json_records(answer({**JOB_22, "job_state": state})),
        parse_json_records(answer({**JOB_24, "job_state": [state]})),
    ]
    assert {meaning(record) for (record,) in forms} == {STATES[state]}


@pytest.mark.parametrize("base", [word for word in STATES if STATES[word] == "is_ended"])
@pytest.mark.parametrize(
    "flag", ["REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "COMPLETING", "STAGE_OUT", "REVOKED"]
)
def test_a_job_with_an_ended_state_that_is_put_back_or_cleaned_up_is_not_over(
    base: str, flag: str
) -> None:
    for states in ([base, flag], [flag, base]):
        assert not parse_json_records(answer({**JOB_24, "job_state": states}))[0].is_ended


@pytest.mark.parametrize("remark", ["LAUNCH_FAILED", "RECONFIG_FAIL", "UPDATE_DB"])
def test_a_remark_beside_a_state_leaves_it_as_it_is(remark: str) -> None:
    assert (
        parse_json_records(answer({**JOB_24, "job_state": [remark, "FAILED"]}))[0].state == "FAILED"
    )


def test_the_answers_of_several_clusters_are_told_apart() -> None:
    text = (
        "CLUSTER: home\n"
        "JOBID               |,STATE|REASON|EXIT_CODE|RESTARTCOUNT|NAME\n"
        "7|RUNNING|None|0|0|fox\n"
        "\nCLUSTER: gpuland\n"
        "7|PENDING|None|0|0|owl\n"
    )
    home, there = parse_text(text)
    assert (home.cluster, home.name, home.key) == ("home", "fox", "7;home")
    assert (there.cluster, there.name, there.key) == ("gpuland", "owl", "7;gpuland")
    assert parse_text("7|RUNNING|None|0|0|fox\n")[0].key == "7"


def test_an_outage_in_json_is_not_taken_for_a_cluster_without_jobs() -> None:
    errors = [{"description": "Failed while looking for jobs", "source": "slurm_load_jobs"}]
    with pytest.raises(Unavailable, match="slurm_load_jobs"):
        parse_json_records(answer(errors=errors))


@pytest.mark.parametrize("text", ["", "no", "[]", '{"jobs": 1}'])
def test_what_is_no_answer_of_squeue_is_no_cluster_without_jobs_either(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting value|unexpected JSON"):
        parse_json_records(text)


def test_the_trace_of_a_refused_submission_is_no_job() -> None:
    assert SqueueRecord("1", "fox", "FAILED", "BadConstraints").is_rejected
    assert not SqueueRecord("1", "fox", "PENDING", "BadConstraints").is_rejected
    assert not SqueueRecord("1", "fox", "FAILED", "NonZeroExitCode").is_rejected
