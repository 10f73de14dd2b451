"""The command `sharechat` with shorter times, for tests that would wait for its own to pass.

If it starts workers, these have the usual times.
"""

from dataclasses import replace

from sharechat import cli, serve
from sharechat.actors.policy import Policy
from sharechat.config import Settings

LEASE_TTL = 5
STOP_TIMEOUT = 2


class ImpatientSettings(Settings):
    def policy(self) -> Policy:
        # A worker renews its lease every two seconds, and must not count as dead.
        return replace(
            super().policy(),
            lease_interval=0.5,
            lease_ttl=LEASE_TTL,
            stop_timeout=STOP_TIMEOUT,
            store_timeout=1,
            follow_interval_unwell=0.2,
        )


if __name__ == "__main__":
    serve.Settings = ImpatientSettings  # type: ignore[attr-defined]
    cli.main()
