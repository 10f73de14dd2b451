"""The ports, made real: in memory, over Postgres, over Redis."""
