#!/usr/bin/python
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: certificate_set
short_description: Create, keep, switch and retire a server's own certificate sets
version_added: 0.1.0
description:
  - Makes a server set and a client set if there are none, and keeps them if they are sound.
  - A set is a self-signed certificate with its key as C(.crt) and C(.key) (PEM), C(.cer) (DER), C(.pfx) (PKCS#12) and
    C(.pvk) (Microsoft PVK). The keys never leave the host.
  - Both sets of a generation are written completely into a folder of their own, and put to use by the rename of a link.
  - A manifest notes what a generation holds. Where every file is still the one that was noted, nothing is parsed, and a
    call that has nothing to make does not even load the library cryptography.
  - Damaged, truncated, mismatched or unexpected files are named and not overwritten, unless O(repair=true) or
    O(discard_existing=true). Wrong modes are repaired, and a manifest that is missing or damaged is written again.
  - A manifest also holds the untrusted certificates that M(esync.mesh.peer_probe) presents to prove what peers refuse.
author:
  - The esync.mesh contributors (@esync)
extends_documentation_fragment:
  - esync.mesh.attributes
  - esync.mesh.attributes.linux
  - esync.mesh.attributes.mesh_group
  - esync.mesh.server
  - esync.mesh.sets
  - esync.mesh.web_roots
options:
  valid_days:
    description: How long a new certificate is valid, in days.
    type: int
    default: 365
  state:
    description:
      - V(present) makes or keeps the sets of O(generation).
      - V(switched) makes the next sets current, and the current ones previous.
      - V(rolled_back) undoes that.
      - V(retired) destroys the previous sets.
      - V(absent) destroys everything of the mesh on this host.
    type: str
    choices: [present, switched, rolled_back, retired, absent]
    default: present
  generation:
    description: Which sets to make, V(current), or V(next) ones to rotate to.
    type: str
    choices: [current, next]
    default: current
  discard_existing:
    description: Destroy all existing sets, sound or not, and make new ones at once.
    type: bool
    default: false
  repair:
    description:
      - Write what is damaged or missing again from what is sound in the same generation; private keys stay the same.
      - If no private key is left in any generation, make new sets. No sound private key is ever destroyed.
      - What can be neither restored nor replaced in this way is named, and the call fails.
    type: bool
    default: false
  renew:
    description: Replace sound current sets that are due; if not, RV(due) only says so.
    type: bool
    default: true
  only_due:
    description: With O(generation=next), make sets only if the current ones are due.
    type: bool
    default: false
  deep:
    description: Parse every certificate and key, also where the manifest says that nothing has changed.
    type: bool
    default: false
  max_clock_skew:
    description: By how many seconds the host's clock may differ from O(control_clock).
    type: int
    default: 300
  lock:
    description: The rotation that this call is part of; it is noted on the host, and keeps other control nodes out.
    type: dict
    suboptions:
      holder:
        description: Who rotates.
        type: str
        required: true
      since:
        description: Since when, UTC.
        type: str
        required: true
      id:
        description: The rotation's id.
        type: str
        required: true
      take_over:
        description: Replace the note of another holder.
        type: bool
        default: false
attributes:
  check_mode:
    support: full
    details: Says what would be made, and changes nothing.
  diff_mode:
    support: full
    details: Shows generations, fingerprints and dates; never a key.
seealso:
  - module: esync.mesh.certificate_info
  - module: esync.mesh.peer_trust
  - name: Files on the host
    description: What each file of a set is, and its mode.
    link: https://github.com/esync-mesh/esync.mesh/blob/main/docs/files-on-the-host.md
"""

EXAMPLES = r"""
- name: Make or keep the certificate sets
  esync.mesh.certificate_set:
    name: "{{ inventory_hostname }}"
    address: "{{ ansible_host }}"

- name: Prepare a rotation
  esync.mesh.certificate_set:
    name: "{{ inventory_hostname }}"
    address: "{{ ansible_host }}"
    generation: next
"""

RETURN = r"""
name:
  description: The server's name.
  type: str
  returned: success
directory:
  description: The folder of the mesh on the host.
  type: str
  returned: success
generations:
  description: The live generations with their public certificates.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: The generation's id.
      type: str
    state:
      description: V(current), V(next) or V(previous).
      type: str
    server:
      description: The server certificate.
      type: dict
    client:
      description: The client certificate.
      type: dict
reasons:
  description: Why certificates were made.
  type: list
  elements: str
  returned: success
due:
  description: Why the current certificates should be replaced; empty if they should not.
  type: list
  elements: str
  returned: success
repaired:
  description:
    - The paths whose mode was corrected, and those that were missing or damaged and were written again.
  type: list
  elements: str
  returned: success
shared:
  description:
    - The client sets that the peers share with this server (C(esync_trust_model=shared_keys)), by peer, state and
      fingerprint, with a digest, which is empty if something of them is damaged; null if there are none.
  type: dict
  returned: success
trust:
  description: The trust in force, its digest and entries, and what is distrusted for ever; null if there is none.
  type: dict
  returned: success
clock:
  description: The host's time, in seconds since the epoch.
  type: float
  returned: success
rotation:
  description: The rotation in progress, C(holder), C(since) and C(id); null if there is none.
  type: dict
  returned: success
product_version:
  description: The product's version on this host; null if it is not known.
  type: str
  returned: success
product_version_problem:
  description: Why the command of O(product_version) gave none, with C(kind), C(cause) and C(remedy); null if it did.
  type: dict
  returned: success
"""

from ansible_collections.esync.mesh.plugins.module_utils._interpreter import require_python

require_python()

from ansible_collections.esync.mesh.plugins.module_utils._module import run_module
from ansible_collections.esync.mesh.plugins.module_utils._steps.certificate_set import SPEC, run


def main() -> None:
    run_module(SPEC, run)


if __name__ == "__main__":
    main()
