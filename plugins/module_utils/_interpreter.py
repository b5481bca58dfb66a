# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Python a host needs, said by a file that older ones can still read: Python 3.6 cannot compile the others.

So nothing here may be newer than Python 3.6, and it is what every module imports first.
"""

import json
import sys

OLDEST = (3, 8)

REMEDY = (
    "Install a newer Python next to it (on RHEL 8 python39 and python39-cryptography, for example), and set "
    "ansible_python_interpreter to it"
)


def why_too_old(executable: str, version: str) -> str:
    """The cause, as messages have it."""
    wanted = ".".join(str(part) for part in OLDEST)
    return f"its Python, {executable}, is {version}, and {wanted} or later is needed"


def require_python() -> None:
    """End the module with a sentence if this Python is too old for the rest of it."""
    if sys.version_info[:2] >= OLDEST:
        return
    cause = why_too_old(sys.executable, ".".join(str(part) for part in sys.version_info[:3]))
    error = {"kind": "old_python", "cause": cause, "remedy": REMEDY, "server": None, "path": None}
    # What AnsibleModule would do, which an older Python may not be able to import.
    sys.stdout.write(json.dumps({"failed": True, "msg": f"{cause}. {REMEDY}.", "error": error}) + "\n")
    raise SystemExit(1)
