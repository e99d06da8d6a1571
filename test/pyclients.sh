#!/bin/sh
# Makes a virtual environment with the UFTP clients that others wrote, for the
# test that runs them against our server and the real one:
#
#   test/pyclients.sh [DIRECTORY]        default: $UFTP_PYCLIENTS, else build/pyclients
#   UFTP_PYCLIENTS=DIRECTORY go test -run PythonClients ./uftp/uftptest/
#
# The directory is left as it is if it already holds these versions. PYTHON
# names the interpreter; default python3.
set -eu

pyuftp=1.1.1
pyunicore=2.0.2

dir=${1:-${UFTP_PYCLIENTS:-$(dirname "$0")/../build/pyclients}}
stamp="pyuftp $pyuftp, pyunicore $pyunicore"
if [ -f "$dir/clients" ] && [ "$(cat "$dir/clients")" = "$stamp" ]; then
	exit 0
fi
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip --disable-pip-version-check install --quiet "pyuftp==$pyuftp" "pyunicore==$pyunicore"
echo "$stamp" >"$dir/clients"
