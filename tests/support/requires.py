"""Saying that a test cannot run here, loudly where it must run."""

import os
from typing import NoReturn

import pytest


def missing(what: str, package: str) -> NoReturn:
    """End the test because a part of the machine is missing.

    Args:
        what: what the test needs, in words (``the program pamtester``, ``root``).
        package: the apt package that brings it, or what else to do.

    Where the environment says ``CI=true`` a skipped test would be a silent hole, so it fails there.
    """
    text = f"{what} is missing here: {package}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
