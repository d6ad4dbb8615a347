# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MCP server: streamable HTTP at `/`, stateless, JSON responses, behind the SDK's own OAuth routes."""

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.server.fastmcp import Context, FastMCP
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from nous.anchors import Anchors, verify
from nous.audit import AuditLog, now
from nous.oauth import SCOPE, Provider
from nous.release import FAULT, VERSION
from nous.settings import Settings
from nous.state import State

PROFILES = Path(__file__).resolve().parents[2] / "profiles"


def load_profile(name: str) -> dict[str, Any]:
    """Read from the source tree, as the real server does: a deployment that loses the tree must not start."""
    try:
        profile: dict[str, Any] = json.loads((PROFILES / f"{name}.yaml").read_text())
    except FileNotFoundError as error:
        sys.exit(f"nous: NOUS_PROFILE: {error.filename} does not exist")
    return profile


def http_options(settings: Settings) -> dict[str, Any]:
    hosts = [settings.http_bind]
    origins = []
    options: dict[str, Any] = {}
    if settings.oauth_enabled:
        issuer = settings.oauth_issuer
        hosts += [str(issuer.host), f"{issuer.host}:443"]
        origins += [str(issuer).rstrip("/"), "https://claude.ai"]
        options["auth"] = AuthSettings(
            issuer_url=issuer,
            resource_server_url=issuer,
            client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=[SCOPE], default_scopes=[SCOPE]),
            revocation_options=RevocationOptions(enabled=True),
            required_scopes=[SCOPE],
        )
        options["auth_server_provider"] = Provider(settings.oauth_folder, settings.oauth_single_client, settings.oauth_access_ttl)
    options["transport_security"] = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)
    return options


def add_tools(mcp: FastMCP, settings: Settings, state: State, audit: AuditLog, anchors: Anchors) -> None:
    profile = load_profile(settings.profile)

    def record(tool: str, call_id: str, ctx: Context[Any, Any, Any], **args: Any) -> dict[str, Any]:
        line = audit.write(tool=tool, call_id=call_id, request_id=str(ctx.request_id), args=args)
        anchors.pin()
        return line

    @mcp.tool()
    def note(text: str, ctx: Context[Any, Any, Any], call_id: str = "") -> dict[str, Any]:
        """Write TEXT to the audit log and return the line as written."""
        state.begin(now(), "note", call_id)
        return record("note", call_id, ctx, text=text)

    @mcp.tool()
    async def slow(seconds: float, ctx: Context[Any, Any, Any], call_id: str = "") -> dict[str, Any]:
        """Answer only after SECONDS; the audit line is written then."""
        state.begin(now(), "slow", call_id)
        await asyncio.sleep(seconds)
        return record("slow", call_id, ctx, seconds=seconds)

    @mcp.tool()
    def long(size: int, ctx: Context[Any, Any, Any], call_id: str = "") -> str:
        """Answer with SIZE characters; the audit line is short."""
        state.begin(now(), "long", call_id)
        record("long", call_id, ctx, size=size)
        return "x" * size

    @mcp.tool()
    def device_info(ctx: Context[Any, Any, Any]) -> dict[str, Any]:
        """What this is; the one tool that changes nothing but the audit log."""
        record("device_info", "", ctx)
        return {"name": "nous", "version": VERSION, "transport": settings.transport, "profile": profile["name"]}

    @mcp.tool()
    def status(ctx: Context[Any, Any, Any], call_id: str = "") -> dict[str, Any]:
        """The server's own state."""
        state.begin(now(), "status", call_id)
        record("status", call_id, ctx)
        return {
            "version": VERSION,
            "policy": settings.policy,
            "profile": profile["name"],
            "audit": {"degraded": audit.degraded, "written": audit.written, "head": audit.head},
            "anchors": {"degraded": anchors.degraded, "day": anchors.last.get("day")},
            **state.report(),
        }

    add_audit_tools(mcp, audit, anchors, record)


def add_audit_tools(mcp: FastMCP, audit: AuditLog, anchors: Anchors, record: Callable[..., dict[str, Any]]) -> None:
    """Add the real server's own; each returns JSON as text, of before its own record."""

    @mcp.tool()
    def audit_summary(ctx: Context[Any, Any, Any]) -> str:
        """What the server says of its log."""
        found = audit.summary()
        record("audit_summary", "", ctx)
        return json.dumps(found)

    @mcp.tool()
    def audit_resync(ctx: Context[Any, Any, Any]) -> str:
        """Open the log anew."""
        audit.resync()
        found = audit.summary()
        record("audit_resync", "", ctx)
        return json.dumps(found)

    @mcp.tool()
    def audit_verify(ctx: Context[Any, Any, Any]) -> str:
        """Follow the chain of the log."""
        found = verify(audit.path)
        record("audit_verify", "", ctx)
        return json.dumps(found)

    @mcp.tool()
    def audit_anchor_verify(ctx: Context[Any, Any, Any]) -> str:
        """Hold the daily anchors against log and archives."""
        found = anchors.verify()
        record("audit_anchor_verify", "", ctx)
        return json.dumps(found)


def build_stdio(settings: Settings) -> FastMCP:
    mcp = FastMCP("nous", log_level="WARNING")
    if FAULT != "toolless":
        add_tools(mcp, settings, State(settings.home), AuditLog(settings.audit_file), Anchors(settings.anchor_file, settings.audit_file, settings.home / "day"))
    return mcp


def build(settings: Settings) -> Starlette:
    state = State(settings.home)
    mcp = FastMCP(
        "nous",
        host=settings.bind_host,
        port=settings.bind_port,
        streamable_http_path="/",
        stateless_http=True,
        json_response=True,
        log_level="WARNING",  # the SDK's two coloured lines a call cost as much as the call
        **http_options(settings),
    )
    add_tools(mcp, settings, state, AuditLog(settings.audit_file), Anchors(settings.anchor_file, settings.audit_file, settings.home / "day"))
    mcp._mcp_server.version = VERSION  # the SDK offers no public way to say it
    if FAULT == "error":
        return Starlette(routes=[Mount("/", PlainTextResponse("this release is broken on purpose", status_code=500))])
    app = mcp.streamable_http_app()
    inner = app.router.lifespan_context

    async def tick() -> None:
        while True:
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk costs rows, not the service
                state.tick(now())
            await asyncio.sleep(1 / settings.tick_hz)

    @contextlib.asynccontextmanager
    async def lifespan(scope: Starlette) -> AsyncIterator[Any]:
        async with inner(scope) as value:
            ticking = asyncio.create_task(tick())
            try:
                yield value
            finally:
                ticking.cancel()

    app.router.lifespan_context = lifespan
    return app
