"""Whose a bearer token is: one token that both sides know, or tokens of an OAuth 2.1 authorization server."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from langchain_jupyter.errors import ConnectionLost, MissingExtra, SettingsError
from langchain_jupyter.mcp import sdk

try:
    import jwt
except ImportError as error:
    raise MissingExtra("mcp", "The MCP server") from error

logger = logging.getLogger(__name__)

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_KEYS_FOR = 300.0
_KEYS_AT_MOST_EVERY = 10.0
_METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


class SharedToken:
    """One token, for whoever knows it.

    Args:
        token: Not empty.
    """

    def __init__(self, token: str) -> None:
        if not token.strip():
            raise SettingsError("The server's token is empty. Give one, or none at all and one is made.")
        self._token = token.encode()

    async def verify_token(self, token: str) -> Any:
        """Compared in constant time."""
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return None
        return sdk.access(token, "token", ())


class OAuthTokens:
    """Access tokens that an authorization server gave for us: signed ones (RFC 9068), or asked for there (RFC 7662).

    Args:
        issuer: The authorization server.
        resource: Our own URL: tokens must be meant for it (RFC 8707).
        client: Id and secret to ask the authorization server about tokens with; without them tokens must be JWTs.
        http: For tests; one of our own by default.
    """

    def __init__(
        self,
        issuer: str,
        resource: str,
        *,
        client: tuple[str, str] | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._issuer = issuer.rstrip("/")
        self._resource = resource
        self._client = client
        self._http = http or httpx.AsyncClient(timeout=10)
        self._metadata: Mapping[str, Any] = {}
        self._keys: dict[str, jwt.PyJWK] = {}
        self._keys_at = -_KEYS_FOR
        self._lock = asyncio.Lock()

    async def verify_token(self, token: str) -> Any:
        """The token's meaning; None if it is not good here.

        Raises:
            ConnectionLost: The authorization server does not answer.
        """
        claims = await (self._introspected(token) if self._client else self._decoded(token))
        if claims is None:
            return None
        scopes = claims.get("scope") or claims.get("scp") or ()
        return sdk.access(
            token,
            str(claims.get("client_id") or claims.get("azp") or "unknown"),
            scopes.split() if isinstance(scopes, str) else [str(scope) for scope in scopes],
            subject=str(claims.get("sub") or ""),
            expires_at=int(claims["exp"]) if claims.get("exp") is not None else None,
        )

    async def _decoded(self, token: str) -> Mapping[str, Any] | None:
        try:
            key = await self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name] if key.algorithm_name in _ALGORITHMS else [],
                issuer=[self._issuer, f"{self._issuer}/"],
                audience=[self._resource, self._resource.rstrip("/")],
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            logger.info("a token is refused: %s", type(error).__name__)
            return None
        return claims

    async def _introspected(self, token: str) -> Mapping[str, Any] | None:
        endpoint = await self._endpoint("introspection_endpoint")
        claims = await self._fetched(endpoint, data={"token": token, "token_type_hint": "access_token"})
        audience = claims.get("aud") or ()
        audience = [audience] if isinstance(audience, str) else audience
        meant = self._resource.rstrip("/") in [str(each).rstrip("/") for each in audience]
        return claims if claims.get("active") is True and meant else None

    async def _key(self, name: str) -> jwt.PyJWK | None:
        """The key of that name; looked for again if it is new, but not at everybody's wish."""
        async with self._lock:
            age = time.monotonic() - self._keys_at
            if age > _KEYS_FOR or (name not in self._keys and age > _KEYS_AT_MOST_EVERY):
                found = await self._fetched(await self._endpoint("jwks_uri"))
                self._keys = {key.key_id or "": key for key in jwt.PyJWKSet.from_dict(dict(found)).keys}
                self._keys_at = time.monotonic()
        return self._keys.get(name)

    async def _endpoint(self, name: str) -> str:
        """An address from the authorization server's metadata (RFC 8414)."""
        if not self._metadata:
            self._metadata = await self._discovered()
        if name not in self._metadata:
            raise SettingsError(f"The authorization server {self._issuer} names no {name}.")
        return str(self._metadata[name])

    async def _discovered(self) -> Mapping[str, Any]:
        url = httpx.URL(self._issuer)
        path = url.path.rstrip("/")
        candidates = [url.copy_with(path=f"{known}{path}") for known in _METADATA]
        candidates.append(url.copy_with(path=f"{path}{_METADATA[1]}"))
        for candidate in candidates:
            try:
                metadata = await self._fetched(str(candidate))
            except ConnectionLost:
                continue
            if str(metadata.get("issuer", "")).rstrip("/") == self._issuer:
                return metadata
        raise ConnectionLost(f"No metadata of the authorization server {self._issuer} (RFC 8414).")

    async def _fetched(self, url: str, *, data: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        try:
            if data is None:
                response = await self._http.get(url)
            else:
                response = await self._http.post(url, data=dict(data), auth=self._client or httpx.USE_CLIENT_DEFAULT)
            response.raise_for_status()
            found = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ConnectionLost(
                f"The authorization server does not answer at {url}: {type(error).__name__}."
            ) from None
        if not isinstance(found, dict):
            raise ConnectionLost(f"The authorization server's answer at {url} is no JSON object.")
        return found


def scopes_of(text: str) -> Sequence[str]:
    """Scopes as they are written in one option."""
    return tuple(text.replace(",", " ").split())
