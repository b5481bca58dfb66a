#!/bin/sh
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The Python of a member, the name of whose folder is that of the member. CHAOS_ROOT is the mesh's folder; in its chaos/
# the callback notes the stage, and the harness which hosts are down, and the first process of those that can be cut off.

root=$CHAOS_ROOT/chaos
member=$(basename "$(dirname "$0")")
visit=$(cat "$root/stage")/$member

if [ -e "$root/down.$member" ] || [ "$visit" = "$CHAOS_FAULT" ]; then
    exit 1
fi
set -- "$CHAOS_PYTHON" "$@"
# strace lives as long as the endpoint that a visit starts, and Ansible waits for everybody who could still say something:
# therefore -D, and no error channel. --seccomp-bpf makes it fast, but then it injects no signal.
if [ -n "$CHAOS_COUNT" ]; then
    exec 2>>"$root/stderr"
    set -- strace -D -f --seccomp-bpf -qq -o "$root/trace/$(echo "$visit" | tr / .)" -e "trace=$CHAOS_CALLS,accept4" "$@"
elif [ "$visit" = "$CHAOS_VISIT" ]; then
    exec 2>>"$root/stderr"
    set -- strace -D -f -qq -o "$root/killed" -e "trace=$CHAOS_KILL_CALL" \
        -e "inject=$CHAOS_KILL_CALL:signal=SIGKILL:when=$CHAOS_KILL_AT" "$@"
fi
if [ -e "$root/init.$member" ]; then
    set -- nsenter --target "$(cat "$root/init.$member")" --mount --pid -- "$@"
fi
exec "$@"
