"""What tests need of the system: a skip that names its package, and one command for all."""

import os
import re
from collections.abc import Iterable
from typing import NoReturn

import pytest

NPM = "npm install --prefix .node"
_REASON = "wants of the system: "


def lacking(*packages: str) -> NoReturn:
    """Skip the test that asks; under WAVEWISE_REQUIRE_SYSTEM=1 fail it.

    Parameters
    ----------
    *packages : str
        Debian packages; "npm:smpp" for one of npm's.
    """
    reason = _REASON + " ".join(packages)
    if os.environ.get("WAVEWISE_REQUIRE_SYSTEM") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def told_at_the_end(reasons: Iterable[str]) -> list[str]:
    """Lines for the end of a run: how many tests were skipped, and what installs all they want."""
    wanted = [found[1].split() for text in reasons if (found := re.search(f"{_REASON}(.*)", text))]
    packages = {name for names in wanted for name in names}
    if not packages:
        return []
    debian = sorted(name for name in packages if not name.startswith("npm:"))
    commands = [f"apt-get install --no-install-recommends {' '.join(debian)}"] if debian else []
    of_npm = sorted(name.removeprefix("npm:") for name in packages if name.startswith("npm:"))
    commands += [f"{NPM} {' '.join(of_npm)}"] if of_npm else []
    tests = f"{len(wanted)} tests were" if len(wanted) > 1 else "1 test was"
    return [
        f"{tests} skipped for want of system packages; this installs all of them:",
        f"  {' && '.join(commands)}",
    ]
