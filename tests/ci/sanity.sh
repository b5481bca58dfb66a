#!/usr/bin/env bash
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ansible-test sanity over a copy of the tree at the place that it demands: sanity.sh BIN
set -euo pipefail

bin=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tree=$work/ansible_collections/esync/mesh
mkdir -p "$tree" "$work/home/.ansible/test/cache"
# The tracked files and those about to be; the link into this very tree is for development and no part of the collection.
git ls-files -z --cached --others --exclude-standard -- . ':!playbooks/collections' |
  while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
  tar --null --files-from=- --create | tar --extract --directory "$tree"

# ansible-test would download a script that installs pip; Python brings pip along.
printf 'import ensurepip\nensurepip.bootstrap()\n' > "$work/home/.ansible/test/cache/get_pip_24_2.py"

# Every Python that is here: whether all compiles and can be imported is tested on each, everything else once.
for folder in "$HOME"/.pyenv/versions/3.*/bin; do
  [ ! -d "$folder" ] || PATH=$PATH:$folder
done
export HOME=$work/home
cd "$tree"
"$bin/ansible-test" sanity --skip-test pslint --color no 2>&1 | tee "$work/log"
tests=$(grep -c '^Running sanity test ' "$work/log")
[ "$tests" -gt 20 ] || { echo "sanity ran only $tests tests"; exit 1; }
pythons=$(sed -n 's/^Running sanity test "import" on Python //p' "$work/log" | paste -sd ' ')
[ -n "$pythons" ] || { echo "nothing was imported on any Python"; exit 1; }
echo "sanity: $tests tests, no failure, on Python $pythons"
