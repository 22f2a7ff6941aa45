from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings

from bot.domain.errors import ConfigError
from bot.domain.image_engine import GenerationInfo
from bot.domain.job import Job
from bot.store import job_queries
from bot.store import jobs as job_store
from bot.store.serialization import dump_job, dump_request, load_job, to_timestamp
from tests.unit.store.builders import KEY, a_job, jobs, memory_database


@given(jobs)
@settings(deadline=None, max_examples=150)
def test_any_job_comes_back_from_the_database_as_it_was(job: Job) -> None:
    connection = memory_database()
    assert job_store.insert(connection, job, interaction=None, mac_key=KEY)
    assert job_queries.job_by_id(job.id).run(connection) == job
    connection.close()


def stored(job: Job, **changed: object) -> dict[str, object]:
    row: dict[str, object] = {
        "id": job.id,
        "state": str(job.state),
        "created_at": to_timestamp(job.created_at),
        "started_at": None,
        "ended_at": None,
        "request": dump_request(job.request),
        "snapshot": dump_job(job),
    }
    return row | changed


def test_a_row_of_before_there_were_engines_is_read_and_written_as_it_was() -> None:
    job = a_job("abc")
    assert all(len(row) == 6 for row in json.loads(dump_job(job))["rows"])
    generation = replace(
        job.rows[0], generation=GenerationInfo("own", "m", 7, "7.5", negative=False)
    )
    told = replace(job, rows=(generation, *job.rows[1:]))
    assert load_job(stored(told)).rows == told.rows
    # Without a sampler and a digest it is what an older version reads.
    assert json.loads(dump_job(told))["rows"][0][6] == ["own", "m", 7, "7.5", False]
    whole = GenerationInfo("own", "m", 7, "7.5", sampler="Euler a", model_sha256="ab" * 32)
    told = replace(job, rows=(replace(job.rows[0], generation=whole), *job.rows[1:]))
    assert load_job(stored(told)).rows == told.rows


def test_lone_surrogates_and_nul_do_not_hurt_the_json() -> None:
    job = a_job("a")
    odd = json.loads(dump_request(job.request)) | {"prompt": "\ud800 \x00 é"}
    loaded = load_job(stored(job, request=json.dumps(odd)))
    assert loaded.request.prompt == "\ud800 \x00 é"
    assert dump_request(loaded.request).isascii()


def test_a_snapshot_with_an_unknown_key_is_refused_and_the_key_named() -> None:
    job = a_job("abc")
    newer = json.dumps(json.loads(dump_job(job)) | {"mood": "blue"})
    with pytest.raises(ConfigError, match=r"job abc: .*mood.*gridbrush restore"):
        load_job(stored(job, snapshot=newer))


@pytest.mark.parametrize(
    "changed",
    [
        {"snapshot": "[]"},
        {"snapshot": "not json"},
        {"request": "{}"},
        {"state": "dreaming"},
        {"created_at": "yesterday"},
    ],
)
def test_a_row_changed_by_hand_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="job abc"):
        load_job(stored(a_job("abc"), **changed))


def test_a_snapshot_with_parts_of_the_wrong_shape_is_refused() -> None:
    job = a_job("abc")
    short = json.dumps(json.loads(dump_job(job)) | {"handle": ["local"]})
    with pytest.raises(ConfigError, match="job abc"):
        load_job(stored(job, snapshot=short))
