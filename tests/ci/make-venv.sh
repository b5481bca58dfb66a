#!/usr/bin/env bash
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Make the virtual environment: make-venv.sh PYTHON FOLDER
set -euo pipefail

python=$1
folder=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or later is needed; $python is $("$python" --version 2>&1). Run: make PYTHON=/path/to/python3.11 ..." >&2
  exit 1
}
if ! "$python" -m venv --clear "$folder"; then
  # Debian keeps venv in a package of its own.
  [ "$(id -u)" -eq 0 ] || { echo "Install the package python3-venv." >&2; exit 1; }
  apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends python3-venv
  "$python" -m venv --clear "$folder"
fi
# A registry that hiccups must not fail the run.
for attempt in 1 2 3; do
  if "$folder/bin/python" -m pip install --quiet --requirement requirements-dev.txt; then
    touch "$folder/.installed"
    exit 0
  fi
  echo "pip failed (attempt $attempt of 3)" >&2
  sleep $((attempt * 5))
done
exit 1
