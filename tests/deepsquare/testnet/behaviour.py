"""How the Grid treats a job: as it should, or in one of the ways in which it may not."""

from __future__ import annotations

from dataclasses import dataclass

from tests.deepsquare.testnet.chain import Status


@dataclass(frozen=True, slots=True)
class Conduct:
    """One job's fate. The defaults are a good provider's.

    ``stays`` is the status (PENDING, META_SCHEDULED, SCHEDULED) that it never leaves; ``timeouts``
    and ``refusals`` how often it is sent back from META_SCHEDULED and from SCHEDULED.

    ``runs`` is whether its steps are really run; if not, it is over ``instantly``, or stays RUNNING
    until the time limit or a cancel. ``silent`` keeps its output from the log. ``ends_as`` and
    ``exit_code`` (a raw wait status) are told to the chain instead of the truth, ``minutes`` is the
    bill. ``lost_after`` log lines the provider loses it and panics; ``vanishes_after`` it dies and
    nobody says so. A provider that ``ignores_cancel`` lets it run on.
    """

    stays: Status | None = None
    timeouts: int = 0
    refusals: int = 0
    runs: bool = True
    instantly: bool = True
    silent: bool = False
    ends_as: Status | None = None
    exit_code: int | None = None
    minutes: int | None = None
    lost_after: int | None = None
    vanishes_after: int | None = None
    ignores_cancel: bool = False
