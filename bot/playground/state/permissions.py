"""Define permission bits and compute permissions from roles and overwrites."""

from __future__ import annotations

from collections.abc import Iterable

CREATE_INSTANT_INVITE = 1 << 0
ADMINISTRATOR = 1 << 3
MANAGE_CHANNELS = 1 << 4
MANAGE_GUILD = 1 << 5
ADD_REACTIONS = 1 << 6
VIEW_CHANNEL = 1 << 10
SEND_MESSAGES = 1 << 11
MANAGE_MESSAGES = 1 << 13
EMBED_LINKS = 1 << 14
ATTACH_FILES = 1 << 15
READ_MESSAGE_HISTORY = 1 << 16
MENTION_EVERYONE = 1 << 17
USE_EXTERNAL_EMOJIS = 1 << 18
USE_APPLICATION_COMMANDS = 1 << 31
MANAGE_THREADS = 1 << 34
CREATE_PUBLIC_THREADS = 1 << 35
CREATE_PRIVATE_THREADS = 1 << 36
SEND_MESSAGES_IN_THREADS = 1 << 38
MODERATE_MEMBERS = 1 << 40
USE_EXTERNAL_APPS = 1 << 50

NAMES: dict[str, int] = {
    name: value for name, value in dict(globals()).items() if name.isupper() and value
}
ALL = (1 << 53) - 1

MEMBER = (
    CREATE_INSTANT_INVITE
    | ADD_REACTIONS
    | VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_MESSAGE_HISTORY
    | USE_EXTERNAL_EMOJIS
    | USE_APPLICATION_COMMANDS
    | CREATE_PUBLIC_THREADS
    | SEND_MESSAGES_IN_THREADS
)
MODERATOR = (
    MEMBER | MANAGE_GUILD | MANAGE_MESSAGES | MANAGE_CHANNELS | MANAGE_THREADS | MODERATE_MEMBERS
)
# The permissions in the bot's invite link.
BOT = (
    VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_MESSAGE_HISTORY
    | SEND_MESSAGES_IN_THREADS
    | CREATE_PUBLIC_THREADS
)
# In a direct message channel both users have all permissions that exist there.
DIRECT = MEMBER & ~(CREATE_PUBLIC_THREADS | SEND_MESSAGES_IN_THREADS | CREATE_INSTANT_INVITE)


def bits(*names: str) -> int:
    """Return the bits of permissions by name, ``bits("SEND_MESSAGES", "ATTACH_FILES")``."""
    total = 0
    for name in names:
        total |= NAMES[name]
    return total


def compute(
    base: int,
    everyone: tuple[int, int],
    roles: Iterable[tuple[int, int]],
    member: tuple[int, int],
    *,
    thread: bool,
) -> int:
    """Return the permission bits of a member in a channel.

    ``base`` is the union of the member's roles; each pair is (allow, deny) of one overwrite. They
    are applied in Discord's order: everyone, then all roles together, then the member. In threads
    SEND_MESSAGES_IN_THREADS replaces SEND_MESSAGES.
    """
    if base & ADMINISTRATOR:
        return ALL
    total = (base & ~everyone[1]) | everyone[0]
    allow = deny = 0
    for role_allow, role_deny in roles:
        allow |= role_allow
        deny |= role_deny
    total = (total & ~deny) | allow
    total = (total & ~member[1]) | member[0]
    if not total & VIEW_CHANNEL:
        return 0
    sending = SEND_MESSAGES_IN_THREADS if thread else SEND_MESSAGES
    if not total & sending:
        total &= ~(ATTACH_FILES | EMBED_LINKS | MENTION_EVERYONE)
    return total
