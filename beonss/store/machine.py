"""What tells this machine from its copies."""

from pathlib import Path

#: machine-id(5), and where D-Bus keeps it on systems without systemd.
PATHS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def machine_id(paths: tuple[Path, ...] = PATHS) -> str:
    """Return this machine's id (machine-id(5)), or an empty text where it has none."""
    for path in paths:
        try:
            text = path.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            continue
        if text and text != "uninitialized":
            return text
    return ""
