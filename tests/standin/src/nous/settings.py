# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NOUS_* variables: unknown ones are ignored, bad values end the program before it does anything."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyHttpUrl, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="NOUS_", extra="ignore", frozen=True)

    home: Path = Path("/var/lib/nous")
    transport: Literal["stdio", "http"] = "stdio"
    http_bind: Annotated[str, Field(pattern=r"^[^:\s]+:[0-9]{1,5}$")] = "127.0.0.1:8088"
    policy: Literal["open", "guarded", "readonly"] = "open"
    profile: str = "jetson-agx-orin"
    tick_hz: Annotated[float, Field(gt=0, le=100)] = 2.0
    oauth_enabled: bool = False
    oauth_issuer: AnyHttpUrl = AnyHttpUrl("https://localhost:8088")
    oauth_single_client: bool = True
    oauth_access_ttl: Annotated[int, Field(ge=60)] = 3600
    oauth_state_dir: str = ""
    audit_path: str = ""
    anchor_path: str = ""

    @field_validator("http_bind")
    @classmethod
    def _port_exists(cls, value: str) -> str:
        if int(value.rpartition(":")[2]) > 65535:
            raise ValueError("a port is at most 65535")
        return value

    @property
    def bind_host(self) -> str:
        return self.http_bind.rpartition(":")[0]

    @property
    def bind_port(self) -> int:
        return int(self.http_bind.rpartition(":")[2])

    @property
    def audit_file(self) -> Path:
        return Path(self.audit_path or self.home / "audit.jsonl")

    @property
    def anchor_file(self) -> Path:
        return Path(self.anchor_path or self.audit_file.with_name("audit-anchors.jsonl"))

    @property
    def oauth_folder(self) -> Path:
        return Path(self.oauth_state_dir or self.home / "auth")
