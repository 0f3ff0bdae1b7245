"""Certificates of one test cluster, by the openssl program: its authority, the API server's, an administrator's, the accounts' key.

Elliptic keys, since a control plane starts once a test session and RSA keys would be a second of it.
"""

import shutil
import subprocess
from pathlib import Path

DAYS = "30"


class MissingOpensslError(Exception):
    """The openssl program isn't on this machine."""


def openssl(folder: Path, *arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise MissingOpensslError("openssl is missing (test certificates); to get it: apt-get install openssl")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}"


def make_key(folder: Path, name: str) -> None:
    openssl(folder, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")


def make_leaf(folder: Path, name: str, subject: str, usage: str, names: str) -> None:
    """NAME.key and NAME.crt, signed by the authority in `folder`. The extensions are what RFC 5280 and Python >= 3.13 ask for."""
    make_key(folder, name)
    lines = ["basicConstraints=critical,CA:FALSE", "authorityKeyIdentifier=keyid", f"extendedKeyUsage={usage}", f"subjectAltName={names}"]
    (folder / f"{name}.ext").write_text("\n".join(lines) + "\n")
    openssl(folder, "req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS, "-extfile", f"{name}.ext"]
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.crt")


def make_all(folder: Path, address: str) -> None:
    """ca, apiserver (for `address` and localhost) and admin (of system:masters) as .key and .crt; accounts as .key and .pub."""
    make_key(folder, "ca")
    usage = "keyUsage=critical,keyCertSign,cRLSign"
    openssl(folder, "req", "-x509", "-key", "ca.key", "-subj", "/CN=test-authority", "-days", DAYS, "-addext", usage, "-out", "ca.crt")
    make_leaf(folder, "apiserver", "/CN=kube-apiserver", "serverAuth", f"IP:{address},DNS:localhost,DNS:kubernetes.default.svc")
    make_leaf(folder, "admin", "/O=system:masters/CN=admin", "clientAuth", "DNS:admin")
    make_key(folder, "accounts")
    openssl(folder, "pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
