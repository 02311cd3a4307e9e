"""What a server of the store says of itself (`INFO`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

SECTIONS = ("server", "replication", "memory", "persistence", "cluster")


class ServerInfo:
    """The fields of `INFO`, by name."""

    def __init__(self, text: str) -> None:
        pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
        self.fields = {name: value.strip() for name, _, value in pairs}

    @property
    def server_id(self) -> str:
        """Tells one life of the server's process from another."""
        return self.fields.get("run_id", "")

    @property
    def is_replica(self) -> bool:
        return self.fields.get("role") == "slave"

    @property
    def is_cluster(self) -> bool:
        return self.fields.get("cluster_enabled") == "1" or self.fields.get("redis_mode") == "cluster"

    @property
    def version(self) -> tuple[int, ...]:
        """The version, of Valkey or Redis."""
        text = self.fields.get("valkey_version") or self.fields.get("redis_version", "0")
        return tuple(int(part) for part in text.split(".") if part.isdigit())

    @property
    def product(self) -> str:
        """Name and version, such as `Valkey 9.1.0`."""
        if "valkey_version" in self.fields:
            return f"Valkey {self.fields['valkey_version']}"
        return f"Redis {self.fields.get('redis_version', '')}".strip()


async def read_info(line: AbstractConnection, *sections: str) -> ServerInfo:
    """Ask a server that is connected. Raises RedisError."""
    await line.send_command("INFO", *sections)
    reply = await line.read_response(disable_decoding=True)
    assert isinstance(reply, bytes)
    return ServerInfo(reply.decode("utf-8", "replace"))
