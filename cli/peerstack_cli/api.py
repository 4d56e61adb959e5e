"""The HTTP API: JSON over the unix socket of the home folder, under versioned paths.

::

    GET  /v1/status       POST /v1/connect      POST /v1/put
    GET  /v1/peers        POST /v1/disconnect   POST /v1/get
                          POST /v1/ping         POST /v1/delete

    POST /v1/dht/{lookup,closest,table,ring,forget,ping,find-node,find-value,store,provide,providers}

Requests and answers are JSON objects; ``ping`` answers with one JSON line for each round trip. An error is ``{"error": {"code", "message",
"hint"}}``, with the codes of `peerstack.errors`; in the middle of a stream it is the last line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from peerstack import Host
from peerstack.errors import PeerstackError
from peerstack_cli import operations
from peerstack_cli.dht_operations import DHT_OPERATIONS
from peerstack_cli.documents import Document
from peerstack_cli.failures import CommandError, Failure, failure_of
from peerstack_cli.version import version

__all__ = ["Api", "serve"]

_logger = logging.getLogger(__name__)

_MAX_REQUEST_BYTES: Final = 256 << 10  # a value of 64 KiB in base64, and room
_DRAIN_S: Final = 0.5  # waited for twice: before requests under way are cancelled, and after

_STATUS: Final = {
    "usage": 400,
    "invalid_address": 400,
    "invalid_peer_id": 400,
    "invalid_record": 400,
    "not_found": 404,
    "value_too_large": 413,
    "limit": 429,
    "internal": 500,
    "unreachable": 502,
    "unavailable": 503,
    "quorum_not_met": 503,
    "timeout": 504,
}
_OTHER_STATUS: Final = 500


class Api:
    """The routes of one daemon."""

    def __init__(self, host: Host, home: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._home = home
        self._clock = clock
        self._began = clock()

    def application(self) -> web.Application:
        """Make the application."""
        application = web.Application(middlewares=[_errors], client_max_size=_MAX_REQUEST_BYTES)
        application.router.add_get("/v1/status", self._status)
        application.router.add_get("/v1/peers", self._peers)
        application.router.add_post("/v1/ping", self._ping)
        answered = {"connect": operations.connect, "disconnect": operations.disconnect, **DHT_OPERATIONS}
        for name, operation in answered.items():
            application.router.add_post(f"/v1/{name}", self._answering(operation))
        return application

    async def _status(self, request: web.Request) -> web.Response:
        host = self._host
        return web.json_response(
            {
                "peer_id": str(host.peer_id),
                "version": version(),
                "pid": os.getpid(),
                "uptime_s": round(self._clock() - self._began, 3),
                "home": str(self._home),
                "preset": host.config.preset,
                "addrs": [str(address) for address in host.addrs],
                "peers": len(host.peers()),
                "connections": len(host.connections()),
                "dhts": operations.dhts(host),
                "plugins": list(host.plugins),
                "protocols": host.protocol_ids(),
            }
        )

    async def _peers(self, request: web.Request) -> web.Response:
        return web.json_response(await operations.peers(self._host))

    def _answering(self, operation: operations.Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            return web.json_response(await operation(self._host, await _body(request)))

        return answer

    async def _ping(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        async with aclosing(operations.ping(self._host, await _body(request))) as documents:
            try:
                async for document in documents:
                    await _write_line(request, response, document)
            except (PeerstackError, CommandError) as error:
                if not response.prepared:
                    raise
                await _write_line(request, response, failure_of(error).document())
        await response.write_eof()
        return response


@asynccontextmanager
async def serve(api: Api, bound: socket.socket) -> AsyncIterator[None]:
    """Answer on a bound unix socket for the length of a block; at its end requests under way get a moment to finish."""
    runner = web.AppRunner(api.application(), access_log=None, handle_signals=False, shutdown_timeout=_DRAIN_S)
    await runner.setup()
    try:
        handler: Any = runner.server
        server = await asyncio.get_running_loop().create_unix_server(handler, sock=bound)
        try:
            yield
        finally:
            server.close()
    finally:
        transports = [connection.transport for connection in runner.server.connections] if runner.server is not None else []
        await runner.cleanup()
        for transport in transports:
            if transport is not None:
                transport.abort()  # of a client that does not read: closing would wait for it


@web.middleware
async def _errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Answer errors with their document."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _refuse(Failure("usage", f"{request.method} {request.path}: {error.reason}"), error.status)
    except ConnectionResetError:
        raise  # the client is gone: there is nobody to answer
    except Exception as error:
        failure = failure_of(error)
        if failure.code == "internal":
            _logger.error("%s %s crashed", request.method, request.path, exc_info=error)
        return _refuse(failure, _STATUS.get(failure.code, _OTHER_STATUS))


def _refuse(failure: Failure, status: int) -> web.Response:
    return web.json_response(failure.document(), status=status)


async def _body(request: web.Request) -> object:
    try:
        body: object = json.loads(await request.text())
    except ValueError as error:  # no JSON, or no text
        raise CommandError("usage", f"the request's body is no JSON: {error}") from error
    return body


async def _write_line(request: web.Request, response: web.StreamResponse, document: Document) -> None:
    if not response.prepared:
        await response.prepare(request)
    await response.write(json.dumps(document).encode() + b"\n")
