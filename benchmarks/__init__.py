"""Benchmarks of sharechat against the yardstick, a plain FastAPI server of the same API.

    python -m benchmarks            # everything; see --help
    python -m benchmarks.profile    # where a server's time or memory goes

Run from the root of the repository, with the extras `test` and `bench` installed: the
servers under test start Postgres and Redis through `tests.harness`.
"""
