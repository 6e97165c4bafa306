"""A throw-away certificate authority and the certificates of one cluster, made by ``openssl``."""

from dataclasses import dataclass
from pathlib import Path

from sro_cluster.commands import run

_DAYS = "30"
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its private key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates below one folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.pair = self._pair("ca")
        self.service_account_key = directory / "service-account.key"
        self.service_account_public_key = directory / "service-account.pub"

    def create(self) -> None:
        """Makes the authority's own pair and the key pair that signs service account tokens."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        pair = self.pair
        subject = ["-subj", "/CN=sro-test-ca", "-days", _DAYS]
        run(["openssl", "req", "-x509", *_NEW_KEY, "-keyout", pair.key, "-out", pair.certificate, *subject])
        run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.service_account_key])
        public = self.service_account_public_key
        run(["openssl", "ec", "-in", self.service_account_key, "-pubout", "-out", public])

    def issue(self, name: str, *, user: str, group: str | None = None, addresses: tuple[str, ...] = ()) -> Pair:
        """Issues a certificate that serves as client (``user``, ``group``) and as server (``addresses``).

        Args:
            name: of the two files.
            user: the common name, to the API server the user's name.
            group: the organization, to the API server a group.
            addresses: subject alternative names in OpenSSL's words: ``IP:127.0.0.1``, ``DNS:localhost``.
        """
        pair = self._pair(name)
        request, extensions = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        lines = ["extendedKeyUsage=clientAuth,serverAuth"]
        if addresses:
            lines.append("subjectAltName=" + ",".join(addresses))
        extensions.write_text("\n".join(lines) + "\n")
        run(["openssl", "req", *_NEW_KEY, "-keyout", pair.key, "-out", request, "-subj", subject])
        signer: list[str | Path] = [
            "-CA",
            self.pair.certificate,
            "-CAkey",
            self.pair.key,
            "-CAcreateserial",
            "-days",
            _DAYS,
        ]
        signed: list[str | Path] = ["-in", request, "-out", pair.certificate, "-extfile", extensions]
        run(["openssl", "x509", "-req", *signed, *signer])
        return pair

    def _pair(self, name: str) -> Pair:
        return Pair(certificate=self._directory / f"{name}.crt", key=self._directory / f"{name}.key")
