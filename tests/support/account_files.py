"""Account files with everything in them that an import meets."""

from beonss.core.accounts.gathering import gather
from beonss.core.accounts.passwdfile import GROUP, PASSWD, SHADOW, read

FILES = {
    "passwd": (
        b"root:x:0:0:root:/root:/bin/sh\n"
        b"frodo:x:1001:1001:Frodo B\xe9utlin:/home/frodo:/bin/tcsh\n"
        b"sam:x:1002:1002:Sam:/home/sam:/bin/sh\n"
        b"sam:x:1009:1002:Sam again:/home/sam:/bin/sh\n"
        b"rosie:x:1002:1002:Same uid:/home/rosie:/bin/sh\n"
        b"evil:x:1010:0:Root's group:/:/bin/sh\n"
        b"nobody:x:65534:65534::/:/bin/false\n"
        b"what is this\n"
        b"+::::::\n"
    ),
    "shadow": b"root:*:1::::::\nfrodo:$6$f$1:19000:0:99999:7:::\nsam:!$6$s$1:19000::::::\n",
    "group": b"root:x:0:\nhobbits:x:1100:frodo,sam,merry\nsam:x:1100:\nusers:x:100:frodo\n",
}


def gathered(**options):
    """Return what is gathered from :data:`FILES`, or from those given by name; None leaves one out."""
    files = {**FILES, **{name: options.pop(name) for name in tuple(FILES) if name in options}}
    return gather(
        *(read(kind, files[kind.name]) if files[kind.name] is not None else None for kind in (PASSWD, SHADOW, GROUP)),
        **options,
    )
