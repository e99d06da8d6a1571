#!/bin/sh
# Makes a virtual environment with PyUNICORE's FUSE driver, for the benchmark:
#
#   test/bench/pyunicore.sh DIRECTORY
#
# 1.3 is the last series that has the driver. The directory is left as it is if
# it already holds these versions. PYTHON names the interpreter; default python3.
set -eu

pyunicore=1.3.7
fusepy=3.0.1

dir=$1
stamp="pyunicore $pyunicore, fusepy $fusepy"
if [ -f "$dir/versions" ] && [ "$(cat "$dir/versions")" = "$stamp" ]; then
	exit 0
fi
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip --disable-pip-version-check install --quiet "pyunicore==$pyunicore" "fusepy==$fusepy"
echo "$stamp" >"$dir/versions"
