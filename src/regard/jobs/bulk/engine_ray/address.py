"""RAY_ADDRESS → where a cluster of Ray is, asked before Ray is: it would wait two minutes for what is none."""

import os
import socket

from regard.errors import UsageError

PATIENCE = 5.0
"""Seconds for an answer."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How HTTP/2, which Ray speaks there, begins; with empty settings."""
_SETTINGS = 4
_SUBMIT = "`ray job submit` runs the command on the cluster itself: see docs/ray.md"


def ray_address(address: str) -> str | None:
    """The address that Ray joins; None where it is to be started here.

    Raises `UsageError` for an address of another kind, and where nothing there speaks as Ray does.
    """
    if address in ("", "local"):
        return None
    if address == "auto":
        return address
    if address.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS is {address}, an address of Ray Client, which is not for long work: it ends with the "
            f"connection; {_SUBMIT}, or give HOST:PORT on a node of the cluster"
        )
    if "://" in address:
        raise UsageError(f"RAY_ADDRESS is {address}, which is where jobs are submitted; {_SUBMIT}, or give HOST:PORT")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"RAY_ADDRESS is {address!r}; give HOST:PORT of a cluster's head, or local")
    problem = _problem(host.strip("[]"), int(port))
    if problem:
        raise UsageError(
            f"RAY_ADDRESS is {address}, where no Ray is ({problem}); give HOST:PORT as `ray start --head` names it, or "
            "unset it to start Ray on this machine"
        )
    return address


def _problem(host: str, port: int) -> str:
    """Why nothing at a host and port can be a cluster of Ray; "" where it may be one."""
    try:
        with socket.create_connection((host, port), PATIENCE) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return ""
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return reason or "there is no answer"
    return "" if len(answer) > 3 and answer[3] == _SETTINGS else "what is there does not speak as Ray does"
