"""The Repository on PostgreSQL, spoken to by psycopg, driven by trio."""

from sharechat.adapters.postgres.migrate import SchemaError, migrate
from sharechat.adapters.postgres.repository import PostgresRepository

__all__ = ["PostgresRepository", "SchemaError", "migrate"]
