"""Encryption of push messages for one browser (RFC 8291, content coding ``aes128gcm`` of RFC 8188)."""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RECORD_BYTES = 4096
MAX_PLAINTEXT = 3000  # push services accept messages of 4,096 bytes
LAST_RECORD = b"\x02"


def encrypt_message(
    plaintext: bytes,
    *,
    public_key: bytes,
    auth: bytes,
    salt: bytes | None = None,
    private: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """Encrypt a message for the browser with this public key and secret. ``salt`` and ``private``: for tests only."""
    private = private or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    own_key = encode_public_key(private.public_key())
    shared = private.exchange(ec.ECDH(), receiver)
    secret = _derive(shared, salt=auth, info=b"WebPush: info\0" + public_key + own_key, length=32)
    content_key = _derive(secret, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
    nonce = _derive(secret, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
    header = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(own_key)]) + own_key
    return header + AESGCM(content_key).encrypt(nonce, plaintext + LAST_RECORD, None)


def _derive(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def encode_public_key(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def encode_base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def decode_base64(text: str) -> bytes:
    """Raises ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
