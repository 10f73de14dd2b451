"""nginx as it is deployed, in front of servers of a test."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import trustme

from tests.harness.ports import free_port
from tests.harness.program import Program

DEPLOYED = Path(__file__).parents[2] / "deploy" / "nginx.conf"


class Nginx(Program):
    """`deploy/nginx.conf` over these ports instead of the replicas, with TLS and without."""

    name = "nginx"

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        super().__init__(folder)
        # As it is deployed, nginx resolves a name for each request, and remembers no failures.
        self._servers = "".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
        self.plain_port, self.tls_port = free_port(), free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.plain_port}"

    @property
    def tls_url(self) -> str:
        return f"https://127.0.0.1:{self.tls_port}"

    def statuses(self) -> set[int]:
        """Return the status of each answer so far; a websocket is logged when it ends."""
        return {int(line) for line in (self._folder / "access.log").read_text().split()}

    def owns(self, netloc: str) -> bool:
        return netloc in (f"127.0.0.1:{self.plain_port}", f"127.0.0.1:{self.tls_port}")

    def _configuration(self) -> str:
        text = DEPLOYED.read_text()
        listen = (
            f"listen 127.0.0.1:{self.plain_port}; listen 127.0.0.1:{self.tls_port} ssl; "
            f"ssl_certificate {self._folder}/chain.pem; "
            f"ssl_certificate_key {self._folder}/key.pem;"
        )
        temporary = "".join(
            f"{kind}_temp_path {self._folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        for old, new in (
            ("worker_processes auto;", "worker_processes 1;"),
            (
                "http {",
                f"http {{ log_format status $status; access_log access.log status; {temporary} "
                f"upstream replicas {{{self._servers}}}",
            ),
            ("listen 8080;", listen),
            ("http://sharechat:8080", "http://replicas"),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        # A worker would otherwise be another user than the one to whom the folder belongs.
        return ("user root;\n" if os.geteuid() == 0 else "") + text

    def _arguments(self) -> Sequence[str]:
        certificate = trustme.CA().issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(self._folder / "key.pem")
        for part in certificate.cert_chain_pems:
            part.write_to_path(self._folder / "chain.pem", append=True)
        (self._folder / "nginx.conf").write_text(self._configuration())
        return (
            *("-p", str(self._folder), "-c", "nginx.conf", "-e", "stderr"),
            *("-g", f"daemon off; pid {self._folder}/pid;"),
        )

    def _is_ready(self) -> bool:
        return _listens(self.tls_port)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
