"""The backend whose jobs are in a Valkey or Redis server, which several processes share."""
