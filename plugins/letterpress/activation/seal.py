"""Values that the ledger keeps for comparing and repairing, sealed: AES-256-GCM under a key of their own."""

import os
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE = 12


class Seal:
    """Seals and opens under a key that is derived from the identity key (RFC 5869), which stays what it is."""

    def __init__(self, identity_key: bytes):
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"letterpress ledger payloads")
        self._cipher = AESGCM(derived.derive(identity_key))

    def seal(self, content: bytes) -> bytes:
        """A nonce and the sealed content; each time another one."""
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, content, None)

    def seal_all(self, contents: Sequence[bytes]) -> list[bytes]:
        """Many at once, each under a nonce of its own."""
        nonces, encrypt = os.urandom(NONCE * len(contents)), self._cipher.encrypt
        sealed = []
        for place, content in enumerate(contents):
            nonce = nonces[place * NONCE : place * NONCE + NONCE]
            sealed.append(nonce + encrypt(nonce, content, None))
        return sealed

    def open(self, sealed: bytes) -> bytes:
        """The content. Raises ``cryptography.exceptions.InvalidTag`` under another key."""
        return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], None)
