"""The zones of a start that cannot use what was kept: found, proven and compiled before the daemon loads the rest.

It goes the way that :class:`beonss.daemon.master.Master` will go in a moment, and changes nothing. What it loads is
loaded once for the daemon and for the processes that are forked afterwards; it reads no key.
"""

from cryptography import x509
from cryptography.x509.oid import NameOID

from beonss.core.cluster.endpoints import DNS_PORT, Endpoint
from beonss.core.names.naming import Naming
from beonss.core.replication.publication import Published
from beonss.core.zones.forwarding_plan import master_plan
from beonss.daemon.dns.loaded_zones import load_zones
from beonss.daemon.replication.description import prove, read_description
from beonss.daemon.settings import MasterSettings
from beonss.errors import BeonssError
from beonss.net.dns.native import packed_networks, why_pure
from beonss.store.kept_core import SERIALS, CoreOf, KeptCore
from beonss.store.serials import load_serials
from beonss.store.statedirectory import MEMBER_CERTIFICATE
from beonss.wire.name_image import name_image

LOOPBACK = "127.0.0.1"


def usual_endpoints(naming: Naming, name: str) -> tuple[Endpoint, ...]:
    """Return where a master answers DNS if nobody says: on its own addresses in the description, and on loopback.

    Args:
        naming: the description.
        name: of the master.
    """
    spec = next((spec for spec in naming.masters if spec.name == name), None)
    hosts = dict.fromkeys([*(str(address) for address in (spec.addresses if spec is not None else ())), LOOPBACK])
    return tuple(Endpoint(host, DNS_PORT) for host in hosts)


def compiled_zones(settings: MasterSettings, first: Published | None) -> KeptCore | None:
    """Return what the daemon will serve, compiled; None if that cannot be told or done so early.

    Args:
        settings: the command line.
        first: the description that comes first; None for the file.
    """
    if why_pure() is not None:
        return None
    try:
        naming = read_description(settings.description)[1] if first is None else prove(first)
        zones = load_zones(naming, settings.description.parent, load_serials(settings.state / SERIALS), settled=True)
        name = _own_name(settings)
        image = name_image(zones.edition.zones)
    except (BeonssError, OSError, ValueError, IndexError):
        # Told, with what to do, when the daemon comes to the same place.
        return None
    if image is None or all(spec.name != name for spec in naming.masters):
        return None
    plan = master_plan(naming)
    return KeptCore(
        CoreOf("", naming.version, ""),
        usual_endpoints(naming, name) if settings.dns is None else settings.dns,
        image,
        name.encode("ascii"),
        b"" if plan is None else packed_networks(plan.networks),
    )


def _own_name(settings: MasterSettings) -> str:
    """Return the name in our certificate; the key beside it is not touched."""
    certificate = x509.load_pem_x509_certificate((settings.state / MEMBER_CERTIFICATE).read_bytes())
    name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return name if isinstance(name, str) else name.decode("ascii")
