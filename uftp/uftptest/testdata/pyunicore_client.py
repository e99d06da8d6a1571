"""Drives PyUNICORE: authenticate, list, upload, download, change, remove.

Arguments: auth URL, user, password, key file, directory on the server, file to
upload, file to write the download to. Prints nothing; any surprise is a
traceback and exit code 1.
"""

import json
import sys

from pyunicore.credentials import OIDCToken, UsernamePassword, create_credential
from pyunicore.uftp.uftp import UFTP, AuthServer

auth_url, user, password, key, base, upload, download = sys.argv[1:]


def expect(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: {got!r}, want {want!r}")


def refused(function, *args):
    try:
        function(*args)
    except Exception as e:  # of whatever type the library likes
        return str(e)
    raise AssertionError(f"{function} was not refused")


by_password = UsernamePassword(user, password)
server = AuthServer(by_password, auth_url)
expect("status", server.info["TEST"]["status"], "OK")
expect("sharing", server.is_sharing_supported(), False)
credentials = {
    "password": by_password,
    "key": create_credential(username=user, identity=key),
    "token": OIDCToken(server.issue_auth_token(lifetime=60)),
}
if "403" not in refused(UFTP().authenticate, UsernamePassword(user, "wrong"), auth_url, base):
    raise AssertionError("wrong password: not a 403")

with open(upload, "rb") as f:
    data = f.read()

for name, credential in credentials.items():
    uftp = UFTP()
    uftp.connect(credential, auth_url, base)

    uftp.mkdir(name, 0o755)
    path = f"{name}/data.bin"
    with uftp.get_write_socket(path, 0) as s:
        s.sendall(data)
    uftp.ftp.voidresp()
    # A second write, in the middle, truncates nothing.
    with uftp.get_write_socket(path, 100) as s:
        s.sendall(data[100:200])
    uftp.ftp.voidresp()

    expect("listing", uftp.listdir(name), ["data.bin"])
    expect("size", uftp.stat(path)["st_size"], len(data))
    uftp.chmod(path, 0o640)
    uftp.set_time(path, 1700000000)
    st = uftp.stat(path)
    expect("mode", st["st_mode"] & 0o777, 0o640)
    expect("mtime", st["st_mtime"], 1700000000)

    received = bytearray()
    for offset in (0, 12345):
        received.clear()
        with uftp.get_read_socket(path, offset) as s:
            while chunk := s.recv(65536):
                received += chunk
        uftp.ftp.voidresp()
        expect(f"bytes from {offset}", received == data[offset:], True)
    with open(download, "wb") as f:
        uftp.ftp.retrbinary(f"RETR {path}", f.write)

    uftp.rename(path, f"{name}/renamed")
    uftp.rm(f"{name}/renamed")
    uftp.rmdir(name)
    refused(uftp.stat, name)
    uftp.close()
