"""Tells ``twistd`` that the ``beonss`` service exists; everything else is named by string and imported late."""

from twisted.application.service import ServiceMaker

beonss = ServiceMaker(
    "beonss",
    "beonss.service",
    "The name service and account sync daemon of a cluster (master or node).",
    "beonss",
)
