"""Where a server listens, as its settings say, and how it is reached."""

import os
import signal
import socket

import click
import structlog
import trio

from sharechat import systemd
from sharechat.config import Settings
from sharechat.net import listeners
from sharechat.net.certificate import Certificate

log = structlog.get_logger()


def open_listener(settings: Settings) -> socket.socket:
    """Return the socket that systemd has passed, or one that the settings ask for.

    Raises click.ClickException, with a sentence for the user.
    """
    where = str(settings.unix or f"{settings.host}:{settings.port}")
    try:
        if (passed := systemd.passed_listener(os.environ)) is not None:
            where = "the socket of LISTEN_FDS"
            return listeners.adopt(passed)
        if settings.unix:
            return listeners.bind_unix(settings.unix)
        return listeners.bind(settings.host, settings.port)
    except (OSError, ValueError) as error:  # ValueError: the name cannot be a host's.
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(f"cannot listen on {where}: {reason}") from error


def open_metrics_listener(settings: Settings) -> socket.socket | None:
    """Return the socket that shows the metrics, if the settings ask for one.

    Raises click.ClickException, with a sentence for the user.
    """
    if settings.metrics is None:
        return None
    host, port = settings.metrics
    try:
        listener = listeners.bind(host, port)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(f"cannot listen on {host}:{port}: {reason}") from error
    log.info("metrics are served", host=host, port=listener.getsockname()[1], path="/metrics")
    return listener


def describe(listener: socket.socket, *, secure: bool) -> str:
    """Return the URL at which people reach the socket, or `unix:` and its path."""
    address = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{address}"
    host, port = address[:2]
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    return f"{'https' if secure else 'http'}://{shown}:{port}"


def read_certificate(settings: Settings) -> Certificate | None:
    """Return the certificate that the settings name, if they do. Raises click.ClickException."""
    if settings.certfile is None:
        return None
    try:
        return Certificate(settings.certfile, settings.keyfile or settings.certfile)
    except OSError as error:
        # OpenSSL does not say which of the two files is wrong.
        named = error.filename or f"{settings.certfile} with its key"
        reason = getattr(error, "reason", None) or error.strerror
        raise click.ClickException(f"cannot use {named} for TLS: {reason}") from error


async def reload_on_hangup(
    certificate: Certificate, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Read the certificate again for each SIGHUP, until cancelled.

    Reports that it has started once a signal makes it do so.
    """
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        task_status.started()
        async for _ in hangups:
            systemd.notify_reloading()
            try:
                certificate.reload()
            except OSError as error:
                log.warning("the certificate stays what it was", reason=str(error))
            else:
                log.info("the certificate was read again")
            systemd.notify(systemd.READY)
