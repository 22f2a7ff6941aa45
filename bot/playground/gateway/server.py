"""Serve the gateway: a websocket per bot process with identify, heartbeat, resume and replay.

Events are filtered by the intents of the session. Frames are always uncompressed text: clients
that ask for compression accept them, too.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from bot.playground.gateway import events
from bot.playground.rest.faults import CONNECT
from bot.playground.rest.http import page_reply
from bot.playground.serializers import guild_create_payload
from bot.playground.state.guild import Event
from bot.playground.state.models import Json
from bot.playground.state.world import World
from bot.playground.untrusted_input import parse_json

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, ACK = (
    0,
    1,
    2,
    6,
    7,
    9,
    10,
    11,
)
IGNORED_OPS = {3, 4}  # presence and voice state updates
(
    UNKNOWN_OP,
    DECODE_ERROR,
    NOT_AUTHENTICATED,
    AUTHENTICATION_FAILED,
    ALREADY_AUTHENTICATED,
    INVALID_INTENTS,
    DISALLOWED_INTENTS,
) = (
    4001,
    4002,
    4003,
    4004,
    4005,
    4013,
    4014,
)
HEARTBEAT_MS = 41_250
MAX_REPLAYED_EVENTS = 1000
ALL_INTENTS = (1 << 26) - 1


@dataclass(slots=True, eq=False)
class Session:
    """The state that outlives a connection: sequence number and events to replay on resume."""

    id: str
    intents: int
    sequence: int = 0
    buffer: deque[Json] = field(default_factory=lambda: deque(maxlen=MAX_REPLAYED_EVENTS))
    connection: _Connection | None = None


@dataclass(slots=True, eq=False)
class _Connection:
    """An open websocket; ``outbox`` keeps the order of the frames."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport | None = None
    outbox: asyncio.Queue[Json | int] = field(default_factory=asyncio.Queue)
    session: Session | None = None

    def send(self, frame: Json) -> None:
        """Queue a frame."""
        self.outbox.put_nowait(frame)

    def close(self, code: int) -> None:
        """Queue closing the connection with a close code."""
        self.outbox.put_nowait(code)

    async def write(self) -> None:
        """Write queued frames until a close code."""
        while True:
            frame = await self.outbox.get()
            if isinstance(frame, int):
                await self.socket.close(code=frame)
                return
            try:
                await self.socket.send_str(json.dumps(frame))
            except ConnectionError:
                return


class Gateway:
    """Serve the gateway of one world. ``identifies`` and ``resumes`` are counters."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sessions: dict[str, Session] = {}
        self.identifies = 0
        self.resumes = 0
        self._connections: set[_Connection] = set()
        self._last_interaction: Json | None = None
        self._events_to_drop = 0
        world.faults.cut.append(self.abort_connections)
        world.listeners.append(self._on_event)

    @property
    def online(self) -> bool:
        """Return whether a bot is connected and identified."""
        return any(session.connection is not None for session in self.sessions.values())

    # Fault injection

    def send_reconnect(self) -> None:
        """Send op 7 (reconnect) on all connections."""
        for connection in self._connections:
            connection.send({"op": RECONNECT, "d": None})

    def invalidate(self, *, resumable: bool) -> None:
        """Send op 9 (invalid session) on all connections; end the sessions unless resumable."""
        if not resumable:
            for session in self.sessions.values():
                self._detach(session)
            self.sessions.clear()
        for connection in self._connections:
            connection.send({"op": INVALID_SESSION, "d": resumable})

    def disconnect(self, code: int = 4000) -> None:
        """Close all connections with a code; later events are kept for a resume."""
        for session in self.sessions.values():
            self._detach(session)
        for connection in self._connections:
            connection.close(code)

    def abort_connections(self) -> None:
        """Break all connections without a close frame, as a network failure does."""
        for connection in tuple(self._connections):
            if connection.transport is not None:
                connection.transport.abort()

    def drop_events(self, times: int = 1) -> None:
        """Drop the next ``times`` events, as Discord sometimes does."""
        self._events_to_drop += times

    def replay_last_interaction(self) -> None:
        """Send the last INTERACTION_CREATE again, as Discord sometimes does."""
        if self._last_interaction is not None:
            self._dispatch_to(
                list(self.sessions.values()), "INTERACTION_CREATE", (self._last_interaction)
            )

    # Events

    def _on_event(self, event: Event) -> None:
        rendered = events.serialize_event(self.world, event)
        if rendered is None:
            return
        name, data, needed = rendered
        if name == "INTERACTION_CREATE":
            self._last_interaction = data
        if self._events_to_drop and self.sessions:
            self._events_to_drop -= 1
            return
        interested = [one for one in self.sessions.values() if not needed or one.intents & needed]
        for session in interested:
            shown = events.redact(self.world, event, data, session.intents)
            self._dispatch_to([session], name, shown)

    def _dispatch_to(self, sessions: list[Session], name: str, data: Json) -> None:
        for session in sessions:
            session.sequence += 1
            frame = {"op": DISPATCH, "t": name, "s": session.sequence, "d": data}
            session.buffer.append(frame)
            if session.connection is not None:
                session.connection.send(frame)

    # Connections

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until either side closes it."""
        fault = self.world.faults.take(CONNECT, "/gateway")
        if fault is not None:
            if fault.gate is not None:
                await fault.gate.wait_until_open()
            if fault.answer is not None:
                page = fault.page or ""
                return page_reply(page, fault.answer.status, fault.headers)
            if fault.drop and request.transport is not None:
                request.transport.abort()
                return web.Response()
        socket = web.WebSocketResponse(max_msg_size=1 << 20, compress=False)
        await socket.prepare(request)
        connection = _Connection(socket, request.transport)
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write())
        connection.send({"op": HELLO, "d": {"heartbeat_interval": HEARTBEAT_MS}})
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._receive(connection, message.data)
                else:
                    connection.close(DECODE_ERROR)
        finally:
            self._connections.discard(connection)
            session = connection.session
            if session is not None and session.connection is connection:
                self._detach(session)
                if socket.close_code in (1000, 1001):
                    # A client that closes with 1000 or 1001 does not resume.
                    self.sessions.pop(session.id, None)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return socket

    def _receive(self, connection: _Connection, text: str) -> None:
        try:
            frame = parse_json(text)
            op, data = frame["op"], frame.get("d")
        except (ValueError, KeyError, TypeError):
            connection.close(DECODE_ERROR)
            return
        match op:
            case 1:
                connection.send({"op": ACK})
            case 2:
                self._identify(connection, data)
            case 6:
                self._resume(connection, data)
            case 8 if connection.session is not None:
                self._send_members(connection.session, data)
            case _ if op not in (8, *IGNORED_OPS):
                connection.close(UNKNOWN_OP)
            case _ if connection.session is None:
                connection.close(NOT_AUTHENTICATED)

    def _identify(self, connection: _Connection, data: Any) -> None:
        self.identifies += 1
        if connection.session is not None:
            connection.close(ALREADY_AUTHENTICATED)
            return
        if not isinstance(data, dict) or not isinstance(data.get("intents"), int):
            connection.close(DECODE_ERROR)
            return
        intents = data["intents"]
        if data.get("token") != self.world.token:
            connection.close(AUTHENTICATION_FAILED)
        elif intents & ~ALL_INTENTS:
            connection.close(INVALID_INTENTS)
        elif intents & events.PRIVILEGED & ~self.world.privileged_intents:
            connection.close(DISALLOWED_INTENTS)
        else:
            self._start_session(connection, intents, data.get("shard"))

    def _start_session(self, connection: _Connection, intents: int, shard: object) -> None:
        world = self.world
        inside = world.application_id in world.members
        session = Session(f"{world.rng.getrandbits(128):032x}", intents)
        self.sessions[session.id] = session
        self._attach(session, connection)
        ready: Json = {
            "v": 10,
            "user": world.bot.payload(),
            "guilds": [{"id": str(world.guild_id), "unavailable": True}] if inside else [],
            "session_id": session.id,
            "resume_gateway_url": world.gateway_url,
            "application": {"id": str(world.application_id), "flags": 0},
        }
        if shard is not None:
            ready["shard"] = shard
        self._dispatch_to([session], "READY", ready)
        if inside and intents & events.GUILDS:
            self._dispatch_to([session], "GUILD_CREATE", guild_create_payload(world))

    def _resume(self, connection: _Connection, data: Any) -> None:
        self.resumes += 1
        record = data if isinstance(data, dict) else {}
        session = self.sessions.get(str(record.get("session_id")))
        seen = record.get("seq")
        known = (
            session is not None
            and record.get("token") == self.world.token
            and isinstance(seen, int)
            and seen <= session.sequence
        )
        if session is None or not known:
            connection.send({"op": INVALID_SESSION, "d": False})
            return
        assert isinstance(seen, int)
        for frame in session.buffer:
            if frame["s"] > seen:
                connection.send(frame)
        self._attach(session, connection)
        self._dispatch_to([session], "RESUMED", {})

    def _send_members(self, session: Session, data: Any) -> None:
        """Respond to op 8 with one chunk of all members."""
        members = [member.payload() for member in self.world.members.values()]
        chunk: Json = {"guild_id": str(self.world.guild_id), "members": members}
        chunk |= {"chunk_index": 0, "chunk_count": 1}
        if isinstance(data, dict) and "nonce" in data:
            chunk["nonce"] = data["nonce"]
        self._dispatch_to([session], "GUILD_MEMBERS_CHUNK", chunk)

    def _attach(self, session: Session, connection: _Connection) -> None:
        session.connection = connection
        connection.session = session
        self._emit_status()

    def _detach(self, session: Session) -> None:
        if session.connection is not None:
            session.connection = None
            self._emit_status()

    def _emit_status(self) -> None:
        self.world.emit(Event("BOT_STATUS", {"online": self.online}))

    async def aclose(self) -> None:
        """Close all connections."""
        self.disconnect(1001)
        await asyncio.gather(
            *(connection.socket.close(code=1001) for connection in tuple(self._connections)),
            return_exceptions=True,
        )
