"""Ports for programs that tests and the demonstration start."""

import contextlib
import random
import socket


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free on ``host`` for UDP and TCP at this moment.

    It is below those that the kernel gives to outgoing connections (net.ipv4.ip_local_port_range, from 32768), which
    could take it before the program does.

    Raises:
        OSError: none was found.
    """
    for _ in range(200):
        port = random.randrange(10240, 32000)  # noqa: S311 - chance, not secrecy
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            contextlib.suppress(OSError),
        ):
            tcp.bind((host, port))
            udp.bind((host, port))
            return port
    raise OSError(f"no port is free on {host}")
