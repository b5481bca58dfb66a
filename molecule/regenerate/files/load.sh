#!/usr/bin/env bash
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Calls every peer with curl as anybody would, until /run/load.stop exists: load.sh ADDRESS...
# WAYS names the ways to do it: new, long and kept; all if it is not set. PAUSE: seconds between new connections.
# A line for each request goes to /run/load.log: the way, the peer, the HTTP status, curl's exit code, what curl said.
set -u
rm -f /run/load.stop /run/load.log

call() { # WAY ADDRESS PATH
  local way=$1 address=$2 path=$3 own
  # Certificate and key of one generation: between two look-ups of the link it may be switched.
  own=$(readlink -f /etc/esync/current)
  curl --silent --max-time 60 --output /dev/null --write-out "$way $address %{http_code} %{exitcode} %{errormsg}\n" \
    --cert "$own/client.crt" --key "$own/client.key" --cacert /etc/esync/trusted/servers.pem \
    "https://$address:8732$path" >> /run/load.log
}

again() { # PAUSE WAY ADDRESS PATH
  local pause=$1
  shift
  while [ ! -e /run/load.stop ]; do
    call "$@"
    sleep "$pause"
  done
}

for address in "$@"; do
  for way in ${WAYS:-new long kept}; do
    case $way in
      # A new connection each time; an answer that takes five seconds; a connection for all requests.
      new) again "${PAUSE:-1}" new "$address" /esync/health & ;;
      long) again 0 long "$address" /slow & ;;
      kept) python3 /usr/local/bin/kept.py "$address" & ;;
    esac
  done
done
wait
