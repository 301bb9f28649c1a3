"""``python activator.py NAME=FD... -- COMMAND...``: become a command whose descriptors from 3 on are these.

What systemd does for a service with sockets (sd_listen_fds(3)), and no more: the sockets stay with whoever runs this,
so that they live longer than the daemon.
"""

import fcntl
import os
import sys

#: Above all descriptors that are passed.
HIGH = 200


def main(arguments: list[str]) -> None:
    """Run."""
    split = arguments.index("--")
    pairs = [argument.rsplit("=", 1) for argument in arguments[:split]]
    copies = [fcntl.fcntl(int(descriptor), fcntl.F_DUPFD, HIGH) for _, descriptor in pairs]
    for place, copy in enumerate(copies):
        os.dup2(copy, 3 + place, inheritable=True)
    os.closerange(3 + len(copies), HIGH + 100)
    os.environ |= {
        "LISTEN_FDS": str(len(copies)),
        "LISTEN_FDNAMES": ":".join(name for name, _ in pairs),
        "LISTEN_PID": str(os.getpid()),
    }
    command = arguments[split + 1 :]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
