"""The Repository over PostgreSQL: psycopg speaks the protocol, trio does the I/O."""

from sharechat.adapters.postgres.migrate import SchemaError, migrate
from sharechat.adapters.postgres.repository import PostgresRepository

__all__ = ["PostgresRepository", "SchemaError", "migrate"]
