# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of every module that works on a server."""

    DOCUMENTATION = r"""
options:
  directory:
    description: The folder of the mesh on the host.
    type: path
    default: /etc/esync
  name:
    description: The server's name; it goes into the file names and the certificates.
    type: str
    required: true
"""
