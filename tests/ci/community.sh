#!/usr/bin/env bash
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What the community asks of a collection, checked by its own tools on the tree and on what is published: community.sh BIN
set -euo pipefail

bin=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0

# A tool that finds something ends with another code than 0, or prints a line that matches the pattern.
check() {
  local name=$1 pattern=$2
  shift 2
  if ! "$@" >"$work/log" 2>&1 || grep --quiet --extended-regexp "$pattern" "$work/log"; then
    cat "$work/log"
    echo "community: $name has findings"
    exit 1
  fi
  passed=$((passed + 1))
}

# Its exit status says it all.
never='^\b$'
check "reuse" "$never" "$bin/reuse" lint
check "antsibull-changelog" "$never" "$bin/antsibull-changelog" lint
check "the changelog's fragments" "$never" "$bin/python" tests/ci/changelog.py
check "the build" 'WARNING' "$bin/ansible-galaxy" collection build --output-path "$work"
tarball=$(echo "$work"/esync-mesh-*.tar.gz)
cd "$work"
export ANSIBLE_COLLECTIONS_PATH=$work
check "the installation" 'WARNING|Nothing to do' "$bin/ansible-galaxy" collection install "$tarball" -p "$work" --offline
check "antsibull-docs" "$never" "$bin/antsibull-docs" lint-collection-docs --plugin-docs --validate-collection-refs=all \
  --disallow-unknown-collection-refs "$work/ansible_collections/esync/mesh"
check "ansible-builder" 'Traceback|Error' "$bin/ansible-builder" introspect --sanitize "$work"
grep --quiet 'cryptography>=' "$work/log" || { echo "community: ansible-builder found no requirement"; exit 1; }
check "galaxy-importer" 'WARNING|ERROR' "$bin/python" -m galaxy_importer.main "$tarball"
grep --quiet 'Importer processing completed successfully' "$work/log" || { cat "$work/log"; exit 1; }
echo "community: $passed checks, no finding"
