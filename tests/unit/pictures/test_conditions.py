"""Ranges and conditions as RFC 9110 has them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict

from bot.pictures.conditions import FileVersion, Selection, select_bytes

WRITTEN = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
FILE = FileVersion(1000, int(WRITTEN.timestamp()) * 1_000_000_000 + 5)
EMPTY = FileVersion(0, 1)
WHOLE = Selection(200, 0, 1000)
DATE = "Sat, 28 Nov 2026 12:00:00 GMT"
EARLIER, LATER = "Sat, 28 Nov 2026 11:59:59 GMT", "Sat, 28 Nov 2026 12:00:01 GMT"


def chosen(headers: dict[str, str], method: str = "GET", file: FileVersion = FILE) -> Selection:
    return select_bytes(method, CIMultiDict(headers), file)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", Selection(206, 0, 1)),
        ("bytes=0-499", Selection(206, 0, 500)),
        ("bytes=500-", Selection(206, 500, 500)),
        ("bytes=500-9999", Selection(206, 500, 500)),
        ("bytes=999-999", Selection(206, 999, 1)),
        ("bytes=0-", Selection(206, 0, 1000)),
        ("BYTES=0-9", Selection(206, 0, 10)),  # units are case-insensitive
        ("bytes= 0-9", Selection(206, 0, 10)),
        # Suffixes.
        ("bytes=-1", Selection(206, 999, 1)),
        ("bytes=-1000", Selection(206, 0, 1000)),
        ("bytes=-99999", Selection(206, 0, 1000)),
        # Nothing to send.
        ("bytes=1000-", Selection(416)),
        ("bytes=1000-1001", Selection(416)),
        ("bytes=9999-", Selection(416)),
        ("bytes=-0", Selection(416)),
        # Ignored: several ranges, other units, and what is no range.
        ("bytes=0-0,-1", WHOLE),
        ("bytes=0-9,20-29", WHOLE),
        ("items=0-9", WHOLE),
        ("bytes=9-0", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=-1-2", WHOLE),
        ("bytes=0x0-0x9", WHOLE),
        ("bytes=1-2-3", WHOLE),
        ("bytes=" + "9" * 30 + "-", WHOLE),
        ("bytes=٣-٤", WHOLE),
        ("", WHOLE),
    ],
)
def test_a_range_is_sent_refused_or_ignored(header: str, wanted: Selection) -> None:
    assert chosen({"Range": header}) == wanted
    assert chosen({"range": header}) == wanted
    assert chosen({"Range": header}, method="HEAD") == WHOLE


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": FILE.etag}, 304),
        ({"If-None-Match": f'W/{FILE.etag}, "other"'}, 304),
        ({"If-None-Match": f'"other", {FILE.etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": FILE.etag.strip('"')}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": DATE}, 200),  # the tag alone counts
        ({"If-Modified-Since": DATE}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": EARLIER}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": "Sat, 99 Nov 2026 12:00:00 GMT"}, 200),
        ({"If-Match": FILE.etag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": f"W/{FILE.etag}"}, 412),  # a strong comparison
        ({"If-Unmodified-Since": DATE}, 200),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-Match": FILE.etag, "If-Unmodified-Since": EARLIER}, 200),
        ({"If-Match": FILE.etag, "If-None-Match": FILE.etag}, 304),
        ({"If-None-Match": FILE.etag, "Range": "bytes=0-9"}, 304),
        # A range of this version only.
        ({"If-Range": FILE.etag, "Range": "bytes=0-9"}, 206),
        ({"If-Range": '"other"', "Range": "bytes=0-9"}, 200),
        ({"If-Range": f"W/{FILE.etag}", "Range": "bytes=0-9"}, 200),
        ({"If-Range": DATE, "Range": "bytes=0-9"}, 206),
        ({"If-Range": LATER, "Range": "bytes=0-9"}, 200),
        ({"If-Range": "nonsense", "Range": "bytes=0-9"}, 200),
        ({"If-Range": FILE.etag}, 200),
    ],
)
def test_conditions_are_looked_at_in_their_order(headers: dict[str, str], status: int) -> None:
    assert chosen(headers).status == status


def test_of_an_empty_file_no_range_can_be_sent() -> None:
    assert chosen({"Range": "bytes=0-"}, file=EMPTY).status == 416
    assert chosen({"Range": "bytes=-5"}, file=EMPTY).status == 416
    assert chosen({}, file=EMPTY) == Selection(200, 0, 0)


def test_a_changed_file_has_another_tag() -> None:
    assert len({FILE.etag, FileVersion(1000, 1).etag, FileVersion(1, FILE.mtime_ns).etag}) == 3
    assert FILE.last_modified == DATE
