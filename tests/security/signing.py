"""Tokens as honest issuers and forgers make them."""

import base64
import hashlib
import hmac
import time
from typing import Any, Final

import jwt
import orjson

ADA: Final = "ada@example.org"
PASSWORD: Final = "correct horse battery staple"
SECRET: Final = "Hf3cXw0uJx8qk2Qy6nB1vT5zLr9aPdGmSeWiYoUb4K7"


def claims(**changes: Any) -> dict[str, Any]:
    """What a token says that holds for an hour, with changes; None leaves a claim out."""
    now = int(time.time())
    said = {"sub": "ada@example.com", "iat": now, "exp": now + 3600, "name": "Ada", "role": "admin", **changes}
    return {name: value for name, value in said.items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A signed token."""
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def forged(header: dict[str, Any], said: dict[str, Any], secret: bytes | None) -> str:
    """A token with whatever header, signed by HMAC with whatever bytes, or not at all."""
    parts = [_base64(orjson.dumps(header)), _base64(orjson.dumps(said))]
    text = b".".join(parts)
    signature = b"" if secret is None else hmac.new(secret, text, hashlib.sha256).digest()
    return (text + b"." + _base64(signature)).decode()


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"authorization": f"Bearer {token}"}


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
