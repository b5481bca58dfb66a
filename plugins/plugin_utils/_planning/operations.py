# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operations: for each the table of its stages, and what else sets it apart.

How to read a table: a stage plans on the control node, then visits every host once. ``announce`` writes the ledger
before the visit, ``visit`` gives each server its steps, ``conclude`` demands what has to be proved before the run goes
on, ``failure`` says what one server's failure leads to. A stage in which no server has a step is passed over.

A rotation of a mesh with a temporary endpoint as an example: `read` starts the listeners, `baseline` proves which pairs
work and makes the next certificates, `announce` spreads them, the proof with the next ones has to be as good as the
baseline, `switch` makes them current, and if the proof is worse now, every server is switched back. Only then are the
previous ones retired: refused everywhere first, destroyed after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ansible_collections.esync.mesh.plugins.plugin_utils._planning import establishing, repairing, retiring, rotating
from ansible_collections.esync.mesh.plugins.plugin_utils._planning.stages import (
    FETCH,
    HOLD,
    KEEP,
    STOP_ALL,
    STOP_IF_FAILED,
    Stage,
    forget_fetched,
    hold_shared,
    note_received,
    prove,
    withdraw_shared,
)

ESTABLISH = (
    Stage(
        "Look at every server before anything is destroyed",
        establishing.look,
        when=establishing.discards,
        announce=establishing.warn,
        conclude=establishing.stop_for_clocks,
    ),
    Stage(
        "Generate the certificates on each host, or keep them",
        establishing.generate,
        conclude=establishing.stop_for_clocks_and_names,
    ),
    Stage("Apply the certificates of every other server", establishing.apply, announce=establishing.record),
    FETCH,
    HOLD,
    Stage("Test every pair, and that everything else is refused", establishing.test, announce=note_received),
)

VERIFY = (
    Stage("Read the certificates on each host", establishing.read, conclude=establishing.end_other_models),
    Stage(
        "Test every pair, and that everything else is refused",
        establishing.test_temporary,
        conclude=establishing.require_external,
    ),
)

CHECK = (
    Stage("Read and test everything on each host", establishing.examine, failure=KEEP),
    Stage("Test every pair, and that everything else is refused", establishing.test_temporary, failure=KEEP),
)

GATE = (Stage("Connect to the peers that are about to be called", establishing.pass_gate),)

EXPORT = (
    Stage(
        "Put the certificates into a folder on the host",
        establishing.export,
        conclude=establishing.report_exported,
    ),
)

APPLY = (
    Stage(
        "Read and validate the folder on each host",
        establishing.read_folder,
        conclude=establishing.admit_folder,
        failure=STOP_IF_FAILED,
    ),
    Stage("Apply the certificates that came in the folder", establishing.apply_folder),
    replace(FETCH, when=establishing.shares_keys),
    Stage(
        "Hold the client sets that external peers share",
        lambda run: hold_shared(run, folder=True),
        when=establishing.shares_keys,
        conclude=forget_fetched,
    ),
    Stage(
        "Connect to the external peers",
        establishing.call_external,
        announce=note_received,
        conclude=establishing.report_external,
    ),
)

ROTATION = (
    Stage("Listen for the test", rotating.listen, when=rotating.is_on),
    Stage(
        "Test which pairs work, and make the next certificates",
        rotating.make_next,
        when=rotating.is_on,
        announce=rotating.demand_all,
        failure=STOP_ALL,
        conclude=rotating.keep_baseline,
    ),
    Stage(
        "Apply the next certificates besides the current ones",
        rotating.apply_next,
        when=rotating.is_on,
        announce=rotating.announce,
        failure=STOP_ALL,
    ),
    # After the endpoints know them, because callers use a set at once.
    replace(FETCH, when=rotating.shares_keys, failure=STOP_ALL),
    replace(HOLD, when=rotating.shares_keys, failure=STOP_ALL),
    Stage(
        "Test that every peer accepts the next certificates",
        rotating.test_next,
        when=rotating.is_on,
        announce=note_received,
        failure=STOP_ALL,
        conclude=rotating.demand_as_good,
    ),
    Stage(
        "Switch every server to its next certificates",
        rotating.switch,
        when=rotating.is_on,
        failure=KEEP,
        conclude=rotating.record_switch,
    ),
    # Everybody has them all by now; they are only filed by what they are.
    replace(HOLD, when=rotating.shares_keys),
    Stage(
        "Test every pair with the new certificates",
        rotating.test_current,
        when=rotating.is_on,
        conclude=rotating.compare,
    ),
    Stage(
        "Roll back: switch every server back",
        rotating.roll_back,
        when=rotating.got_worse,
        conclude=rotating.record_roll_back,
    ),
    replace(HOLD, when=rotating.shares_old_keys),
    Stage(
        "Test every pair with the old certificates",
        rotating.test_old,
        when=rotating.got_worse,
        conclude=rotating.report_roll_back,
    ),
    Stage(
        "Keep the previous certificates for absent servers",
        rotating.keep_previous,
        when=rotating.waits_for_absent,
        conclude=rotating.report_kept,
    ),
    Stage(
        "Take shared client keys out of use",
        withdraw_shared,
        when=rotating.leaves_shared_keys,
        announce=rotating.retire_in_ledger,
        # Whoever goes on presenting shared client keys would be refused by those that retire them.
        failure=STOP_ALL,
        conclude=rotating.note_withdrawn,
    ),
)

WAIT = Stage(
    "Wait for callers that still present the previous certificates",
    retiring.watch,
    when=retiring.waits,
    conclude=retiring.decide,
)
KEEP_PREVIOUS = Stage(
    "Keep the previous certificates, which are still presented",
    rotating.keep_previous,
    when=retiring.keeps,
    conclude=retiring.end,
)

RETIREMENT = (
    Stage(
        "Retire the previous certificates",
        lambda run: retiring.look_first(run, rotating.retire(run)),
        when=rotating.retires,
        announce=rotating.retire_in_ledger,
        conclude=retiring.report,
    ),
    Stage(
        "Test that retired certificates are refused",
        rotating.test_refused,
        when=rotating.retires,
        announce=note_received,
        conclude=rotating.demand_retired_refused,
    ),
    replace(HOLD, when=rotating.drops_shared),
    Stage("Destroy the keys of the previous certificates", rotating.destroy, when=rotating.retires),
    Stage("Test every pair once more", rotating.test_final, when=rotating.retires, conclude=rotating.end),
)

REGENERATE = (
    Stage("Read the certificates on each host", rotating.read, conclude=rotating.plan),
    Stage(
        "Stop trusting the compromised certificates",
        rotating.withdraw,
        when=rotating.is_compromised,
        announce=rotating.distrust,
    ),
    Stage("Make new certificates in their place", rotating.replace, when=rotating.is_compromised),
    Stage(
        "Apply the certificates that replace them",
        rotating.apply_replaced,
        when=rotating.is_compromised,
        announce=rotating.record_replaced,
    ),
    Stage(
        "Test that shared client keys of before are refused",
        rotating.test_shared_refused,
        when=rotating.is_compromised,
        conclude=rotating.demand_shared_refused,
    ),
    replace(FETCH, when=rotating.is_compromised),
    replace(HOLD, when=rotating.is_compromised),
    Stage("Listen for the test", rotating.listen, when=rotating.is_compromised),
    Stage(
        "Test every pair",
        prove,
        when=rotating.is_compromised,
        announce=note_received,
        conclude=rotating.demand_pairs,
    ),
    *ROTATION,
    WAIT,
    KEEP_PREVIOUS,
    *RETIREMENT,
)

REMOVE = (
    Stage("Read the certificates on each host", rotating.read_for_removal, conclude=rotating.plan_removal),
    Stage(
        "Stop trusting the removed servers",
        rotating.withdraw_removed,
        announce=rotating.distrust_removed,
    ),
    Stage(
        "Test that the removed servers are refused",
        rotating.test_removed,
        announce=note_received,
        conclude=rotating.demand_removed_refused,
    ),
    *ROTATION,
    *RETIREMENT,
    Stage(
        "Plan the rotation that replaces what the removed servers hold",
        rotating.read_again,
        when=rotating.was_pending,
        conclude=rotating.plan_second_rotation,
    ),
    *ROTATION,
    *RETIREMENT,
    Stage(
        "Let the removed servers know the others once more", rotating.restore_removed_trust, when=rotating.is_on_removed
    ),
    Stage(
        "Test that what the removed servers hold of the others is refused",
        rotating.test_removed_shared,
        when=rotating.is_on_removed,
        conclude=rotating.demand_shared_refused,
    ),
    Stage("Destroy the removed servers' own files", rotating.destroy_removed),
    Stage("Test every pair that is left", prove, conclude=rotating.report_removed_done),
)

REPAIR = (
    Stage("Read and test everything on each host", establishing.examine, failure=KEEP),
    Stage(
        "Test every pair, and that everything else is refused",
        establishing.test_temporary,
        failure=KEEP,
    ),
    Stage(
        "Repair the certificate sets",
        repairing.fix_sets,
        announce=repairing.plan,
        failure=KEEP,
        conclude=repairing.keep_errors,
    ),
    Stage(
        "Apply the certificates, and restart endpoints",
        repairing.apply,
        announce=repairing.record,
        failure=KEEP,
        conclude=repairing.keep_errors,
    ),
    replace(FETCH, when=repairing.exchanges, failure=KEEP, conclude=repairing.keep_errors),
    replace(HOLD, when=repairing.exchanges, failure=KEEP, conclude=repairing.forget_fetched),
    Stage(
        "Read and test everything on each host once more",
        establishing.examine,
        when=repairing.has_repaired,
        announce=note_received,
        failure=KEEP,
    ),
    Stage("Test every pair once more", establishing.test_temporary, when=repairing.has_repaired, failure=KEEP),
)


@dataclass(frozen=True)
class Operation:
    """One operation.

    :param stages: in their order.
    :param report_mode: what the report at its end says of servers, see Run; empty: there is no report.
    :param installs: whether a visit may install packages that it needs; the other operations change nothing on a host
        that is not theirs to change.
    :param writes_trust: whether servers are told whom to trust, so that the ledger must not know less than they do.
    :param tests_in_check_mode: whether visits read and test in check mode too; they change nothing then.
    """

    stages: tuple[Stage, ...]
    report_mode: str = ""
    installs: bool = False
    writes_trust: bool = True
    tests_in_check_mode: bool = False


OPERATIONS: Mapping[str, Operation] = {
    "establish": Operation(ESTABLISH, "in_part", installs=True),
    "verify": Operation(VERIFY, "all", writes_trust=False),
    "check": Operation(CHECK, "all_and_fail", writes_trust=False),
    "gate": Operation(GATE, writes_trust=False, tests_in_check_mode=True),
    "regenerate": Operation(REGENERATE, "in_part", installs=True),
    "remove": Operation(REMOVE, "in_part"),
    "repair": Operation(REPAIR, "all_and_fail", installs=True, tests_in_check_mode=True),
    "apply": Operation(APPLY),
    "export": Operation(EXPORT, writes_trust=False),
}
