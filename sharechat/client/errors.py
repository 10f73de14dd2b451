"""What can go wrong for a client."""

import ssl

from sharechat.domain.outcomes import CLOSES, PROBLEMS, ROOM_DELETED, ROOM_NOT_FOUND

_CLOSES = {close.code: close for close in CLOSES}
_PROBLEMS = {problem.code: problem for problem in PROBLEMS if problem.code is not None}
_RETRIED = frozenset((1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014))
"""Close codes of a server, or a proxy before it, after which coming back makes sense."""


class ClientError(Exception):
    """The root. Its text is a sentence for the user; `retry` says whether to try again."""

    retry = False


class UnreachableError(ClientError):
    """The server could not be reached, or did not answer in time."""

    retry = True


class CertificateError(UnreachableError):
    """The server's certificate is not trusted."""

    retry = False


class ProtocolError(ClientError):
    """The server does not speak `sharechat.v1`, or sent something that it does not have."""


class NotStoredError(ClientError):
    """A message was refused, or could not be stored in time; in that case it may have been.

    Saying it again with the same `id` is safe: it is stored once.
    """

    retry = True

    def __init__(self, reason: str, id_: str) -> None:
        super().__init__(reason)
        self.id = id_


class RefusedError(ClientError):
    """The server refused a request or ended a connection.

    `code` is the HTTP status or the close code.
    """

    def __init__(self, code: int, reason: str, *, retry: bool) -> None:
        super().__init__(reason)
        self.code = code
        self.retry = retry


class RoomGoneError(RefusedError):
    """There is no such room, or not any more."""


def unreachable(error: BaseException, where: str) -> ClientError:
    """Return the error for a connection to `where` that failed for `error`, or what caused it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    match cause:
        case ssl.SSLCertVerificationError(verify_message=reason):
            return CertificateError(f"The certificate of {where} is not trusted: {reason}.")
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE" | "HTTP_REQUEST"):
            text = f"{where} does not speak TLS: perhaps the address begins with http://."
            return UnreachableError(text)
    return UnreachableError(f"The server at {where} cannot be reached.")


def closed(code: int, reason: str | None) -> RefusedError:
    """Return the error for a websocket that the server has closed."""
    if code in (ROOM_DELETED.code, ROOM_NOT_FOUND.code):
        return RoomGoneError(code, reason or "The room is gone.", retry=False)
    if code in _PROBLEMS:
        return RefusedError(code, reason or _PROBLEMS[code].title, retry=_PROBLEMS[code].retry)
    known = _CLOSES.get(code)
    retry = code in _RETRIED or (known is not None and known.retry)
    text = reason or (known.reason if known else f"The connection was closed ({code}).")
    return RefusedError(code, text, retry=retry)


def refused(status: int, detail: str) -> RefusedError:
    """Return the error for a request that was answered with an HTTP status of 400 or more."""
    reason = detail or f"The server answered with {status}."
    if status in (404, 410):
        return RoomGoneError(status, reason, retry=False)
    # 408, 425 and 429 are about this moment (RFC 9110, RFC 8470, RFC 6585), as is every 5xx.
    return RefusedError(status, reason, retry=status >= 500 or status in (408, 425, 429))
