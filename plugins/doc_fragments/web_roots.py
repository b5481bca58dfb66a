# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The option that keeps keys away from what a web server publishes."""

    DOCUMENTATION = r"""
options:
  web_roots:
    description:
      - Folders that a web server may publish.
      - No folder of certificates that the module is given may lie under one.
    type: list
    elements: path
    default: [/var/www, /srv/www]
"""
