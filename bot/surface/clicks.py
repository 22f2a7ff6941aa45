"""Double clicks: two presses by one person of one button, too close together to be two wishes.

To Discord they are two interactions with ids of their own. Remembers the latest presses only, in
memory: whoever was restarted in between has taken longer than a double click does.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

DOUBLE_CLICK: Final = timedelta(seconds=1)
_MOST = 1000


class DoubleClickGuard:
    """``repeated`` is asked once for each press; when presses happened is Discord's to say."""

    def __init__(self) -> None:
        self._latest: OrderedDict[tuple[int, int, str], datetime] = OrderedDict()

    def is_repeat(self, user_id: int, message_id: int, control: str, at: datetime) -> bool:
        """Whether the press follows another of the same kind at once; each counts from the last."""
        key = (user_id, message_id, control)
        before = self._latest.pop(key, None)
        self._latest[key] = at
        if len(self._latest) > _MOST:
            self._latest.popitem(last=False)
        return before is not None and abs(at - before) < DOUBLE_CLICK
