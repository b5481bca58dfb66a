# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Python a host needs, said by a file that older ones can still read: Python 3.6 cannot compile the others.

So nothing here may be newer than Python 3.6, and it is what every module imports first.
"""

import json
import os
import sys
from typing import Dict, Optional, Tuple

OLDEST = (3, 8)

OS_RELEASE = "/etc/os-release"

PACKAGES = {
    ("amzn", "2"): {},
    ("amzn", "2023"): {"3.9": "python3-cryptography"},
    ("debian", "10"): {},
    ("debian", "11"): {"3.9": "python3-cryptography"},
    ("debian", "12"): {"3.11": "python3-cryptography"},
    ("debian", "13"): {"3.13": "python3-cryptography"},
    ("rhel", "7"): {},
    ("rhel", "8"): {
        "3.11": "python3.11-cryptography",
        "3.12": "python3.12-cryptography",
        "3.9": "python39-cryptography",
    },
    ("rhel", "9"): {
        "3.9": "python3-cryptography",
        "3.11": "python3.11-cryptography",
        "3.12": "python3.12-cryptography",
    },
    ("suse", "15"): {"3.11": "python311-cryptography"},
    ("ubuntu", "18"): {},
    ("ubuntu", "20"): {},
    ("ubuntu", "22"): {"3.10": "python3-cryptography"},
    ("ubuntu", "24"): {"3.12": "python3-cryptography"},
}  # type: Dict[Tuple[str, str], Dict[str, str]]
"""A distribution and the first number of its version, to its packages of a cryptography that is new enough, by Python.

The first of them is what is recommended to those who have another Python.
"""

# Its ID_LIKE does not name what it is built from.
_BUILT_FROM = {"ol": "rhel"}

_OWN = "/opt/esync-python"
_OR = "; or "


def why_too_old(executable: str, version: str) -> str:
    """The cause, as messages have it."""
    wanted = ".".join(str(part) for part in OLDEST)
    return f"its Python, {executable}, is {version}, and {wanted} or later is needed"


def os_release() -> str:
    """What the host says of its distribution; nothing if it says nothing."""
    try:
        with open(OS_RELEASE, encoding="utf-8", errors="replace") as stream:
            return stream.read(4096)
    except OSError:
        return ""


def package_for(version: str, release: str) -> str:
    """The package with cryptography for a Python of the distribution; nothing if it has none that is new enough.

    :param version: such as ``3.9``. :param release: what ``os_release`` returns.
    """
    packages = _packages(release)
    return "python3-cryptography" if packages is None else packages.get(version, "")


def is_packaged() -> bool:
    """Whether this is the distribution's own Python, so that its packages are for it."""
    folder = os.path.dirname(os.path.realpath(sys.executable))
    return sys.prefix == sys.base_prefix and folder in ("/usr/bin", "/usr/libexec")


def ways_out(executable: str, version: str, packaged: bool, release: str) -> str:
    """What to do about a Python that is too old, or without cryptography: a package, another Python, or one's own.

    :param executable: that Python. :param version: such as ``3.9``.
    :param packaged: whether it is the distribution's own. :param release: what ``os_release`` returns.
    """
    packages = _packages(release)
    other = next(iter(packages or ()), "")
    old = tuple(int(part) for part in version.split(".")[:2]) < OLDEST
    package = "" if old or not packaged else package_for(version, release)
    if package:
        rule = " (as a rule; the one for that Python)" if packages is None else ""
        first = f"Install the package {package}{rule} with the host's own package manager, or let "
        first += "esync_install_dependencies do it"
    elif not (old or packaged):
        first = f"Install it for that Python ({executable} -m pip install cryptography)"
    elif other:
        first = f"Install the package {(packages or {})[other]} with the host's own package manager, and set "
        first += f"ansible_python_interpreter to /usr/bin/python{other}"
    elif packages is None:
        first = "Install a newer Python with its package of cryptography, and set ansible_python_interpreter to it"
    else:
        first = "The distribution has no package of cryptography that is new enough"
    base = executable if not old else f"/usr/bin/python{other}" if other else "python3.N"
    needed = ", with the package python3-venv" if _is_debian(release) else ""
    return _OR.join(
        [
            first,
            "set ansible_python_interpreter to another Python of the host that has cryptography",
            f"make a virtual environment{needed} ({base} -m venv {_OWN} && {_OWN}/bin/pip install cryptography) "
            f"and set ansible_python_interpreter to {_OWN}/bin/python",
        ]
    )


def other_ways_out(ways: str) -> str:
    """What ``ways_out`` names beside the first, which was tried."""
    return ways.partition(_OR)[2]


def require_python() -> None:
    """End the module with a sentence if this Python is too old for the rest of it."""
    if sys.version_info[:2] >= OLDEST:
        return
    version = ".".join(str(part) for part in sys.version_info[:3])
    cause = why_too_old(sys.executable, version)
    remedy = ways_out(sys.executable, version, is_packaged(), os_release())
    error = {"kind": "old_python", "cause": cause, "remedy": remedy, "server": None, "path": None}
    # What AnsibleModule would do, which an older Python may not be able to import.
    sys.stdout.write(json.dumps({"failed": True, "msg": f"{cause}. {remedy}.", "error": error}) + "\n")
    raise SystemExit(1)


def _identity(release: str) -> Tuple[Tuple[str, ...], str]:
    """A distribution and those that it is like, and the first number of its version (os-release(5))."""
    found = {}
    for line in release.splitlines():
        key, _equals, value = line.partition("=")
        found[key] = value.strip().strip("\"'")
    names = [found.get("ID", "")] + found.get("ID_LIKE", "").split()
    return tuple(_BUILT_FROM.get(one, one) for one in names), found.get("VERSION_ID", "").partition(".")[0]


def _packages(release: str) -> Optional[Dict[str, str]]:
    """The packages that are known for a distribution, by their Python; None: it is not known."""
    names, version = _identity(release)
    rows = [PACKAGES[name, version] for name in names if (name, version) in PACKAGES]
    return rows[0] if rows else None


def _is_debian(release: str) -> bool:
    return "debian" in _identity(release)[0]
