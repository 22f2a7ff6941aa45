"""Midjourney's flags, which mean nothing here and are refused by name."""

from __future__ import annotations

import re
from typing import Final

MIDJOURNEY_FLAGS: Final = frozenset(
    re.findall(
        r"\w+",
        """
        bs c chaos creative cref cw draft end exp fast hd iw loop motion niji oref ow p personalize
        profile public q quality raw relax s sameseed sref stealth stop stylize sv sw test
        testp tile turbo upbeta uplight v version video w weird
        """,
    )
)
"""Flags of Midjourney without an effect here. Our own flags take precedence."""

REFERENCE_FLAGS: Final = frozenset({"sref", "cref", "oref", "p", "profile"})
"""Their value is an address, a number or ``random``."""

FLAGS_WITHOUT_VALUE: Final = frozenset(
    re.findall(
        r"\w+",
        """
        creative draft fast hd loop niji personalize public raw relax stealth test testp tile turbo
        upbeta uplight video
        """,
    )
)
