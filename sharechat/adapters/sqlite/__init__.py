"""The Repository in one file, by SQLite in threads of its own."""

from sharechat.adapters.sqlite.lock import DataInUseError
from sharechat.adapters.sqlite.migrate import SchemaError
from sharechat.adapters.sqlite.repository import SqliteRepository

__all__ = ["DataInUseError", "SchemaError", "SqliteRepository"]
