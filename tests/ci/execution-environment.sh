#!/usr/bin/env bash
# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Build an execution environment with the collection, and make a mesh of five in it: execution-environment.sh BIN
# As root, with podman as in molecule/shared/packages.txt. The base image is made of Debian's packages, not taken from a registry.
set -euo pipefail

bin=$(realpath "$1")
base=localhost/esync-ee-base:bookworm
image=localhost/esync-ee:test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

podman image exists "$base" || {
  mmdebstrap --variant=minbase --include=python3,python3-pip,python3-venv,python3-cryptography,openssh-client,ca-certificates \
    bookworm "$work/rootfs.tar"
  podman import "$work/rootfs.tar" "$base"
  rm "$work/rootfs.tar"
}
"$bin/ansible-galaxy" collection build --output-path "$work" . > "$work/log"
cd "$work"
tarball=$(echo esync-mesh-*.tar.gz)
cat > definition.yml <<END
version: 3
images:
  base_image:
    name: $base
dependencies:
  python_interpreter:
    python_path: /usr/bin/python3
  ansible_core:
    package_pip: ansible-core>=2.19,<2.20
  ansible_runner:
    package_pip: ansible-runner
  galaxy:
    collections:
      - name: collections/$tarball
        type: file
additional_build_files:
  - src: $tarball
    dest: collections
options:
  # ansible-builder's own way is ensurepip, which Debian does not have for its Python.
  skip_pip_install: true
  package_manager_path: /usr/bin/apt-get
END
"$bin/ansible-builder" build --file definition.yml --context context --tag "$image" --container-runtime podman \
  --extra-build-cli-args="--isolation=chroot --network=host --volume /etc/ssl/certs:/etc/ssl/certs:ro"
podman --runtime runc run --rm --network=none --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 "$image" sh -ec '
  cd /tmp
  cp -r /usr/share/ansible/collections/ansible_collections/esync/mesh/inventories .
  ansible-playbook esync.mesh.establish -i inventories/local/hosts.yml -e esync_key_type=ecdsa -e esync_formats=cer
' | tee "$work/log"
grep -q '^20 of 20 pairs ok' "$work/log"
podman rmi "$image" > "$work/log"
echo "execution environment: 20 of 20 pairs ok"
