#!/usr/bin/env bash
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Make the virtual environment, or bring it up to date: make-venv.sh PYTHON FOLDER REQUIREMENTS
# Every failure is one line that says what is missing. Without a change of the requirements no registry is asked.
set -euo pipefail

python=$1
folder=$2
requirements=$3
stamp=$folder/.${requirements%.txt}

stop() {
  echo "$1" >&2
  exit 1
}

command -v "$python" >/dev/null || stop "Install Python 3.11 or later (on Debian: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3 ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  stop "Python 3.11 or later is needed; $python is $("$python" --version 2>&1). Name another: make PYTHON=/path/to/python3.11 ..."
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  # Debian keeps venv in a package of its own.
  if [ "$(id -u)" -ne 0 ] || [ ! -x /usr/bin/apt-get ]; then
    stop "Install the package python3-venv (on Debian: apt install python3-venv), then run this again."
  fi
  apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends python3-venv
fi

usable() { "$folder/bin/python" -c "import pip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')')" 2>/dev/null; }

wanted() { cat requirements.txt "$requirements"; }
if usable && wanted | cmp --silent - "$stamp"; then
  touch "$stamp"
  exit 0
fi
echo "Installing what $requirements lists into $folder"
usable || "$python" -m venv --clear "$folder" || stop "The virtual environment $folder could not be made. Is there room, and may you write here?"

# A registry that hiccups must not fail the tests; a person should not wait for one that cannot be reached.
attempts=1
[ -z "${CI:-}" ] || attempts=3
log=$folder/pip.log
for attempt in $(seq "$attempts"); do
  if "$folder/bin/python" -m pip install --quiet --requirement "$requirements" >"$log" 2>&1; then
    wanted >"$stamp"
    exit 0
  fi
  [ "$attempt" -eq "$attempts" ] || sleep $((attempt * 5))
done
if grep -qE 'Retrying|ConnectionError|Max retries|timed out|resolve' "$log"; then
  stop "The Python package registry does not answer. Connect this machine, or set your own (pip config set global.index-url URL), then run this again. Details: $log"
fi
stop "pip failed: $(grep -E '^ERROR' "$log" | tail -n 1 || tail -n 1 "$log") Details: $log"
