#!/bin/sh
# Installs the Debian packages named on the command line that are missing. It
# asks the network only if one is, and needs root only then. On other systems,
# or as another user, it says what is missing and goes on: tests that need it
# skip themselves and say so.
set -eu

missing=
for package in "$@"; do
	if ! dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii'; then
		missing="$missing $package"
	fi
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
	echo "not installed:$missing (tests that need them will be skipped)" >&2
	exit 0
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # a list of words
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
	cat "$log" >&2
	exit 1
fi
