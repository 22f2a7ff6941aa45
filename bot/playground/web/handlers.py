"""Serve the web page and its API: the world as one member sees it, events, and actions.

Only requests of the same origin are served, so that other sites in the same browser cannot act
here. The page's files are in ``page/``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from bot.playground.client.command_options import ClientError
from bot.playground.client.waiter import ConditionWaiter
from bot.playground.gateway.server import Gateway
from bot.playground.state.guild import Event
from bot.playground.state.models import (
    COMMAND,
    COMPONENT,
    MODAL_SUBMIT,
    Interaction,
    Json,
    Upload,
    User,
)
from bot.playground.state.world import World
from bot.playground.untrusted_input import parse_json
from bot.playground.validation.errors import ApiError, parse_snowflake
from bot.playground.web.fault_menu import FaultMenu, MenuContext
from bot.playground.web.page_view import PageView

PAGE = Path(__file__).with_name("page")
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _json_response(payload: Json, status: int = 200) -> web.Response:
    return web.json_response(payload, status=status, headers={"Cache-Control": "no-store"})


def same_origin(request: web.Request) -> bool:
    """Return whether a request comes from the page itself and not from another site."""
    origin = request.headers.get("Origin")
    return origin is None or origin.lower() == f"{request.scheme}://{request.host}".lower()


class WebHandlers:
    """Serve the page and act as the member that it names; there is no authentication."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world = world
        self._view = PageView(world)
        self._gateway = gateway
        self._waiter = ConditionWaiter(world)
        self.fault_menu = FaultMenu(world)
        self._sockets: dict[web.WebSocketResponse, tuple[User, asyncio.Queue[Json | None]]] = {}
        world.listeners.append(self._on_event)

    def add_to(self, app: web.Application) -> None:
        """Add the page's routes."""
        router = app.router
        router.add_get("/", self._index)
        router.add_get("/page/{name:[A-Za-z0-9_.-]+}", self._asset)
        for method, path, handler in (
            ("GET", "/play/world", self._state),
            ("GET", "/play/messages", self._messages),
            ("GET", "/play/socket", self._socket),
            ("POST", "/play/interactions", self._interact),
            ("POST", "/play/say", self._say),
            ("POST", "/play/attachments", self._attach),
            ("GET", "/play/faults", self._show_faults),
            ("POST", "/play/faults", self._change_faults),
        ):
            router.add_route(method, path, self._guard(handler))

    async def aclose(self) -> None:
        """Close all page connections and stop all faults."""
        await self.fault_menu.aclose()
        for socket, (_, outbox) in tuple(self._sockets.items()):
            outbox.put_nowait(None)
            await socket.close(code=1001)

    def _guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not same_origin(request):
                return _json_response(
                    {"message": "Only the playground's own page may do this."}, 403
                )
            try:
                return await handler(request)
            except (ClientError, ApiError) as error:
                text = error.message if isinstance(error, ApiError) else str(error)
                return _json_response({"message": text}, 400)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                return _json_response({"message": f"The request is invalid: {error!r}"}, 400)

        return guarded

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html", headers=SECURITY_HEADERS)

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        path = PAGE / request.match_info["name"]
        if not path.is_file():
            return web.Response(status=404)
        return web.FileResponse(path, headers=SECURITY_HEADERS)

    def _default_member_id(self) -> int:
        """Return the first member that is neither the bot nor the guild's owner."""
        return next(
            one.id
            for one in self._world.members.values()
            if not one.user.bot and one.id != self._world.owner_id
        )

    def _person(self, value: object) -> User:
        user = self._world.users.get(parse_snowflake(value) or 0)
        if user is None or user.bot:
            raise ClientError("There is no member with this id")
        return user

    async def _state(self, request: web.Request) -> web.Response:
        # A page that names no member gets the default one.
        user = self._person(request.query.get("as", self._default_member_id()))
        state = self._view.world(user)
        return _json_response(state | {"bot_online": self._gateway.online})

    async def _messages(self, request: web.Request) -> web.Response:
        user = self._person(request.query.get("as"))
        channel = self._world.channel(parse_snowflake(request.query.get("channel")) or 0)
        return _json_response({"messages": self._view.messages(user, channel)})

    async def _say(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        channel = self._world.channel(parse_snowflake(body["channel_id"]) or 0)
        message = self._world.client.say(self._person(body["as"]), channel, str(body["content"]))
        return _json_response({"id": str(message.id)})

    async def _attach(self, request: web.Request) -> web.Response:
        """Store a file for an attachment option (multipart, field ``file``); return its id."""
        user = self._person(request.query.get("as"))
        form = await request.post()
        field = form["file"]
        if not isinstance(field, web.FileField):
            raise ClientError("The field 'file' must be a file")
        kept = self._world.client.upload(
            user, Upload(field.filename, field.file.read(), field.content_type)
        )
        return _json_response({"id": str(kept.id), "filename": kept.filename})

    async def _show_faults(self, _request: web.Request) -> web.Response:
        return _json_response({"faults": self.fault_menu.state()})

    async def _change_faults(self, request: web.Request) -> web.Response:
        """Start a fault (``id``, ``choice``), stop one (``id``, no choice), or all (no id)."""
        body = await self._body(request)
        if body.get("id") is None:
            self.fault_menu.stop_all()
        elif body.get("choice") is None:
            self.fault_menu.stop(body["id"])
        else:
            channel = self._world.channel(parse_snowflake(body["channel_id"]) or 0)
            place = MenuContext(self._person(body["as"]), channel)
            self.fault_menu.start(body["id"], body["choice"], place)
        return await self._show_faults(request)

    async def _body(self, request: web.Request) -> Json:
        body: Any = parse_json(await request.read())
        if request.content_type != "application/json" or not isinstance(body, dict):
            raise ClientError("A JSON object is needed")
        return body

    async def _interact(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        user = self._person(body["as"])
        kind, data, client = body["type"], body.get("data") or {}, self._world.client
        if kind == COMPONENT:
            message_id = parse_snowflake(body["message_id"]) or 0
            made = client.click(user, message_id, str(data["custom_id"]), data.get("values"))
            return _json_response({"id": str(made.id)})
        if kind == MODAL_SUBMIT:
            made = client.submit(
                user,
                self._find_modal_opener(user, body, data),
                str(data["custom_id"]),
                self._require_list(data["components"]),
            )
            return _json_response({"id": str(made.id)})
        channel = self._world.channel(parse_snowflake(body["channel_id"]) or 0)
        command = self._world.commands.find(parse_snowflake(body["command_id"]) or 0)
        if command["type"] != 1:
            target = data.get("target_id") or body.get("message_id")
            made = client.run_context_menu(user, channel, command, parse_snowflake(target) or 0)
            return _json_response({"id": str(made.id)})
        typing = kind != COMMAND
        made = client.run_command(user, channel, command, data.get("options") or [], typing=typing)
        if not typing:
            return _json_response({"id": str(made.id)})
        timeout_seconds = self._world.ack_life.total_seconds() + 1
        await self._waiter.until(lambda _: made.callback or made.failed, within=timeout_seconds)
        if made.choices is None:
            return _json_response({"message": "Loading options failed"}, 409)
        return _json_response({"choices": made.choices})

    def _find_modal_opener(self, user: User, body: Json, data: Json) -> Interaction:
        """Return the interaction that opened the submitted modal, by id or the latest."""
        named = parse_snowflake(body.get("interaction_id"))
        for one in reversed(self._world.interactions.all()):
            if one.user is not user or one.modal is None or named not in (None, one.id):
                continue
            if one.modal["custom_id"] == data.get("custom_id"):
                return one
        raise ClientError("No such modal is open")

    def _require_list(self, components: Any) -> list[Json]:
        if not isinstance(components, list):
            raise ClientError("components must be a list")
        return components

    # Events

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        user = self._person(request.query.get("as"))
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        outbox: asyncio.Queue[Json | None] = asyncio.Queue()
        self._sockets[socket] = (user, outbox)
        outbox.put_nowait({"t": "BOT_STATUS", "d": {"online": self._gateway.online}})
        writer = asyncio.create_task(self._write(socket, outbox))
        try:
            async for message in socket:
                if message.type != WSMsgType.TEXT:
                    break
        finally:
            del self._sockets[socket]
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return socket

    async def _write(
        self, socket: web.WebSocketResponse, outbox: asyncio.Queue[Json | None]
    ) -> None:
        while (frame := await outbox.get()) is not None:
            try:
                await socket.send_str(json.dumps(frame, ensure_ascii=False))
            except ConnectionError:
                return

    def _on_event(self, event: Event) -> None:
        for user, outbox in self._sockets.values():
            frame = self._view.event(user, event)
            if frame is not None:
                outbox.put_nowait(frame)
