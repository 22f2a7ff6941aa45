"""Test each limit of Discord's messages, just inside and just outside."""

from __future__ import annotations

from typing import Any

import pytest

from bot.playground.server import Playground
from tests.playground.raw import calling, error

V2 = 1 << 15


def row(*children: Any) -> dict[str, Any]:
    return {"type": 1, "components": list(children)}


def button(number: int = 0, **change: Any) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "b", "custom_id": f"b{number}"} | change


def link(**change: Any) -> dict[str, Any]:
    return {"type": 2, "style": 5, "label": "b", "url": "https://example.invalid"} | change


def menu(options: int = 1, **change: Any) -> dict[str, Any]:
    entries = [{"label": f"{one}", "value": f"{one}"} for one in range(options)]
    return {"type": 3, "custom_id": "s", "options": entries} | change


def text(content: str = "t") -> dict[str, Any]:
    return {"type": 10, "content": content}


def gallery(count: int = 1, url: str = "https://example.invalid/a.png") -> dict[str, Any]:
    return {"type": 12, "items": [{"media": {"url": url}} for _ in range(count)]}


def section(texts: int = 1, **change: Any) -> dict[str, Any]:
    return {"type": 9, "components": [text()] * texts, "accessory": link()} | change


def embed(**fields: Any) -> dict[str, Any]:
    return {"title": "t"} | fields


def fields(count: int, value: str = "v") -> list[dict[str, Any]]:
    return [{"name": "n", "value": value} for _ in range(count)]


ALLOWED: list[dict[str, Any]] = [
    {"content": "x" * 2000},
    {"embeds": [embed(title="x" * 256, description="y" * 4096)]},
    {"embeds": [embed(fields=fields(25))] * 10},
    {"embeds": [embed(description="x" * 2999)] * 2},
    {"embeds": [embed(url="https://example.invalid", color=0xFFFFFF, footer={"text": "f"})]},
    {"content": "x", "components": [row(*(button(5 * r + c) for c in range(5))) for r in range(5)]},
    {"content": "x", "components": [row(menu(25, max_values=25))]},
    {"content": "x", "components": [row({"type": 5, "custom_id": "u", "min_values": 0})]},
    {"content": "x", "components": [row(link())]},
    {"content": "x", "components": [row(button(label=None, emoji={"name": "🎨"}))]},
    {"flags": V2, "components": [text() for _ in range(40)]},
    {"flags": V2, "components": [text("x" * 4000)]},
    {"flags": V2, "components": [{"type": 17, "components": [section(3), gallery(10)]}]},
    {"flags": V2, "components": [{"type": 14, "spacing": 2}, row(button())]},
    {"content": "x", "nonce": "n" * 25},
    {"content": "x", "allowed_mentions": {"parse": ["users"], "roles": ["1"]}},
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"content": "x" * 2001}, "content"),
    ({"content": 5}, "content"),
    ({"content": "x", "flags": "many"}, "flags"),
    ({"content": "x", "nonce": "n" * 26}, "nonce"),
    ({"content": "x", "poll": {"question": {}}}, "poll"),
    ({"embeds": [embed()] * 11}, "embeds"),
    ({"embeds": "no"}, "embeds"),
    ({"embeds": ["no"]}, "embeds.0"),
    ({"embeds": [embed(title="x" * 257)]}, "embeds.0.title"),
    ({"embeds": [embed(description="x" * 4097)]}, "embeds.0.description"),
    ({"embeds": [embed(fields=fields(26))]}, "embeds.0.fields"),
    ({"embeds": [embed(fields=fields(1, "x" * 1025))]}, "embeds.0.fields.0.value"),
    ({"embeds": [embed(fields=fields(1, ""))]}, "embeds.0.fields.0.value"),
    ({"embeds": [embed(footer={"text": "x" * 2049})]}, "embeds.0.footer.text"),
    ({"embeds": [embed(author={"name": "x" * 257})]}, "embeds.0.author.name"),
    ({"embeds": [embed(image={"url": "ftp://x"})]}, "embeds.0.image.url"),
    ({"embeds": [embed(url="javascript:1")]}, "embeds.0.url"),
    ({"embeds": [embed(color=1 << 24)]}, "embeds.0.color"),
    ({"embeds": [embed(description="x" * 3000)] * 2}, "embeds"),
    ({"content": "x", "components": [row(button())] * 6}, "components"),
    ({"content": "x", "components": [text()]}, "components.0.type"),
    ({"content": "x", "components": [row()]}, "components.0.components"),
    (
        {"content": "x", "components": [row(*(button(one) for one in range(6)))]},
        "components.0.components",
    ),
    ({"content": "x", "components": [row(menu(), button())]}, "components.0.components"),
    ({"content": "x", "components": [row(text())]}, "components.0.components.0.type"),
    (
        {"content": "x", "components": [row(button(), button())]},
        "components.0.components.1.custom_id",
    ),
    (
        {"content": "x", "components": [row(button(custom_id="c" * 101))]},
        "components.0.components.0.custom_id",
    ),
    (
        {"content": "x", "components": [row(button(custom_id=""))]},
        "components.0.components.0.custom_id",
    ),
    (
        {"content": "x", "components": [row(button(label="l" * 81))]},
        "components.0.components.0.label",
    ),
    ({"content": "x", "components": [row(button(label=None))]}, "components.0.components.0"),
    ({"content": "x", "components": [row(button(style=9))]}, "components.0.components.0.style"),
    ({"content": "x", "components": [row(button(url="x"))]}, "components.0.components.0.url"),
    (
        {"content": "x", "components": [row(link(custom_id="c"))]},
        "components.0.components.0.custom_id",
    ),
    ({"content": "x", "components": [row(link(url="x"))]}, "components.0.components.0.url"),
    (
        {"content": "x", "components": [row(link(url="https://" + "x" * 505))]},
        "components.0.components.0.url",
    ),
    ({"content": "x", "components": [row(menu(26))]}, "components.0.components.0.options"),
    ({"content": "x", "components": [row(menu(0))]}, "components.0.components.0.options"),
    (
        {"content": "x", "components": [row(menu(placeholder="x" * 151))]},
        "components.0.components.0.placeholder",
    ),
    (
        {"content": "x", "components": [row(menu(max_values=26))]},
        "components.0.components.0.max_values",
    ),
    (
        {"content": "x", "components": [row(menu(min_values=2))]},
        "components.0.components.0.min_values",
    ),
    (
        {"content": "x", "components": [row(menu(options=2) | {"options": [{"label": "l"}] * 2})]},
        "components.0.components.0.options.0.value",
    ),
    (
        {
            "content": "x",
            "components": [row(menu() | {"options": [{"label": "l", "value": "v"}] * 2})],
        },
        "components.0.components.0.options.1.value",
    ),
    (
        {
            "content": "x",
            "components": [
                row(menu() | {"options": [{"label": "l", "value": "v", "description": "d" * 101}]})
            ],
        },
        "components.0.components.0.options.0.description",
    ),
    ({"flags": V2, "components": [text()] * 41}, "components"),
    ({"flags": V2, "components": [{"type": 17, "components": [text()] * 40}]}, "components"),
    ({"flags": V2, "components": [text("x" * 2001)] * 2}, "components"),
    ({"flags": V2, "components": [text("")]}, "components.0.content"),
    ({"flags": V2, "components": [text()], "content": "x"}, "content"),
    ({"flags": V2, "components": [text()], "embeds": [embed()]}, "embeds"),
    ({"flags": V2, "components": [gallery(11)]}, "components.0.items"),
    (
        {"flags": V2, "components": [gallery(1, "attachment://gone.png")]},
        "components.0.items.0.media.url",
    ),
    (
        {"flags": V2, "components": [{"type": 13, "file": {"url": "https://x.invalid"}}]},
        "components.0.file.url",
    ),
    ({"flags": V2, "components": [section(4)]}, "components.0.components"),
    ({"flags": V2, "components": [section(accessory=text())]}, "components.0.accessory.type"),
    (
        {
            "flags": V2,
            "components": [
                section(
                    accessory={
                        "type": 11,
                        "media": {"url": "https://x.invalid"},
                        "description": "d" * 1025,
                    }
                )
            ],
        },
        "components.0.accessory.description",
    ),
    ({"flags": V2, "components": [{"type": 14, "spacing": 3}]}, "components.0.spacing"),
    (
        {"flags": V2, "components": [{"type": 17, "components": [text()], "accent_color": -1}]},
        "components.0.accent_color",
    ),
    (
        {
            "flags": V2,
            "components": [{"type": 17, "components": [{"type": 17, "components": [text()]}]}],
        },
        "components.0.components.0.type",
    ),
    ({"content": "x", "allowed_mentions": {"parse": ["all"]}}, "allowed_mentions.parse.0"),
    ({"content": "x", "allowed_mentions": {"users": ["x"]}}, "allowed_mentions.users"),
    ({"content": "x", "allowed_mentions": {"users": ["1"] * 101}}, "allowed_mentions.users"),
    (
        {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
        "allowed_mentions",
    ),
    ({"content": "x", "message_reference": {"message_id": "1"}}, "message_reference"),
    ({"content": "x", "message_reference": {}}, "message_reference.message_id"),
    ({"content": "x", "attachments": [{"id": 0}]}, "attachments.0.id"),
]


def places(errors: Any, path: tuple[str, ...] = ()) -> list[str]:
    found = [".".join(path)] if "_errors" in errors else []
    for key, inner in errors.items():
        if key != "_errors":
            found += places(inner, (*path, key))
    return found


@pytest.mark.parametrize("body", ALLOWED)
async def test_what_fits_is_posted(playground: Playground, body: dict[str, Any]) -> None:
    async with calling(playground) as api:
        reply = await api.post("imagine", **body)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(("body", "place"), REFUSED)
async def test_what_does_not_fit_is_refused_where_it_is_wrong(
    playground: Playground, body: dict[str, Any], place: str
) -> None:
    async with calling(playground) as api:
        reply = await api.post("imagine", **body)
    assert error(reply) == (400, 50035)
    assert place in places(reply.json()["errors"])
    assert playground.world.messages_in("imagine") == []


@pytest.mark.parametrize(
    "body", [{}, {"content": ""}, {"content": None}, {"components": [row(button())]}]
)
async def test_a_message_without_anything_to_see_is_refused(
    playground: Playground, body: dict[str, Any]
) -> None:
    async with calling(playground) as api:
        assert error(await api.post("imagine", **body)) == (400, 50006)
