"""Implementations of the ports: in memory, over Postgres, over Redis."""
