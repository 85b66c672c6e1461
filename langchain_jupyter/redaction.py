"""What may never be shown, taken out of everything that leaves: results for a model, streams, approvals, logs.

A secret is what the toolkit was configured with, what the environment holds under a name that says so, or a text of a
known format. The notebook is its person's, and stays as it is; what a model copies of a marker into a cell is put back
to what the marker stood for.

A secret that is cut in pieces, encoded or spelled backwards is not found: this is a net, and no wall.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import regex

SHORTEST = 6
"""Characters that a configured secret has at least; what is shorter would be found everywhere."""

_NAME = 60
_TOLD_APART = 1_000
_WINDOW = 20_000
_PICTURES = frozenset({"base64", "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of secret that its form gives away.

    Attributes:
        name: As a person calls it, with its article.
        patterns: By the literal text that it begins with, which is looked for first, since that is fast. The group
            `secret`, or else the whole match, is taken out. What is repeated is repeated possessively or within
            bounds, so that no text makes it slow.
        last_line: Pattern of how it ends, if it has lines.
    """

    name: str
    patterns: Mapping[str, str]
    last_line: str = ""

    @property
    def label(self) -> str:
        """In a marker."""
        return self.name.partition(" ")[2]

    def search(self, text: str) -> Iterator[Found]:
        """All places of a text that have the form."""
        for needle, pattern in self.patterns.items():
            if needle in text:
                compiled = re.compile(pattern)
                group = "secret" if compiled.groups else 0
                yield from (Found(self, *found.span(group)) for found in compiled.finditer(text))

    def unfinished(self, text: str) -> int | None:
        """Where the end of a text may be the beginning of a secret; None if it is not."""
        for needle, pattern in self.patterns.items():
            at: int | None = text.find(needle)
            while at is not None and at >= 0:
                found = regex.match(pattern, text, pos=at, partial=True)
                if found is not None and self._goes_on(text[found.end() :]):
                    return at
                at = text.find(needle, at + 1)
        return min((at for needle in self.patterns if (at := _overlap(text, needle)) is not None), default=None)

    def _goes_on(self, rest: str) -> bool:
        """Whether what stands behind a match may be more of it: nothing, or the beginning of another line."""
        return not rest or (bool(self.last_line) and regex.fullmatch(self.last_line, rest, partial=True) is not None)


@dataclass(frozen=True, slots=True)
class Found:
    """A secret in a text: of which format, from where to where."""

    format: Format
    start: int
    end: int


def _format(name: str, needle: str, rest: str) -> Format:
    return Format(name, {needle: needle + rest})


def _token(name: str, needles: str, rest: str) -> Format:
    r"""Of a format that begins with one of some prefixes, where a word begins, or behind an escape such as `\n`."""
    return Format(
        name, {each: rf"{re.escape(each)}(?:(?<![\w-]{each})|(?<=\\[nrt]{each}))(?:{rest})" for each in needles.split()}
    )


_LINE = r"(?:\\n|\r?\n)[ \t]*+"
_LAST_LINE = rf"(?:{_LINE})?-----END [A-Z0-9 ]{{0,40}}+-----"

# What the providers document, and hand out, in November 2026; the more particular before the more general.
FORMATS = (
    Format(
        "a private key",
        {
            "-----BEGIN": r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}?PRIVATE KEY(?: BLOCK)?-----"
            rf"(?:{_LINE}[A-Za-z0-9+/=]{{24,}}+)*+(?:{_LINE}[A-Za-z0-9+/]{{0,24}}+={{0,2}}+)?+(?:{_LAST_LINE})?+"
        },
        _LAST_LINE,
    ),
    _token("an Anthropic key", "sk-ant-", r"[\w-]{20,}+"),
    _token("an OpenAI key", "sk-", r"(?:proj-|svcacct-|admin-|None-)[\w-]{20,}+|[A-Za-z0-9]{32,}+(?![\w-])"),
    _token("an API key", "sk-", r"[\w-]{32,}+"),
    _token("an API key", "sk_ pk_ rk_ sk- pk-", r"(?:live|test|or|lf)[-_][\w-]{16,}+"),
    _token("an AWS key", "AKIA ASIA", r"[0-9A-Z]{16}(?![0-9A-Za-z])"),
    _token("a GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\w{20,}+"),
    _token("a GitLab token", "glpat- gldt- glrt- glcbt- glptt- glft- glsoat-", r"[\w.-]{16,}+"),
    _token("a Slack token", "xoxb- xoxp- xoxa- xoxe- xoxo- xoxr- xoxs- xoxd- xapp-", r"[A-Za-z0-9-]{10,}+"),
    _token("a Google key", "AIza", r"[\w-]{35}(?![\w-])"),
    _token("a Google token", "ya29. GOCSPX-", r"[\w-]{20,}+"),
    _token("a Hugging Face token", "hf_ api_org_", r"[A-Za-z0-9]{20,}+"),
    _token("a LangSmith key", "lsv2_", r"(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    _token("an API key", "gsk_ xai- pplx- r8_ npm_ whsec_ tvly-", r"(?:dev-|prod-)?[A-Za-z0-9+/]{28,}+"),
    _token("an API key", "dapi dop_v1_ doo_v1_", r"[0-9a-f]{32,64}+"),
    _token("an API key", "pypi-AgE", r"[\w-]{50,}+"),
    _token("a JSON web token", "eyJ", r"[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]{8,}+"),
    _format("a token in a URL", "token=", r"(?:(?<=[?&]token=)|(?<=[?&]access_token=))(?P<secret>[\w.~%+-]{12,}+)"),
    _format("a password in a URL", "://", r"[^\s/:@'\"]{0,200}+:(?P<secret>[^\s/@'\"`{}$()<>|;&\\]{3,200}+)@"),
    _format(
        "a token in a header",
        "uthorization",
        r"['\"]?: ?['\"]?(?:\w{1,20}+ )?(?=[A-Za-z_.~+/=-]{0,200}+\d)(?P<secret>[\w.~+/=-]{8,}+)",
    ),
)


class Redactor:
    """Takes secrets out of text and puts a marker in the place of each: `[redacted: OPENAI_API_KEY]`.

    Args:
        secrets: Name -> secret; those of less than six characters are left out.
        formats: Whether what has the form of a secret is one.
        later: Gives all secrets that there are by now, such as `secrets_of_environment`; `look_again` asks it.
    """

    def __init__(
        self,
        secrets: Mapping[str, str] | None = None,
        *,
        formats: bool = True,
        later: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self._formats = formats
        self._later = later
        self._named: dict[str, str] = {}
        self._numbers: dict[tuple[str, bytes], int] = {}
        self._counts: dict[str, int] = {}
        for name, secret in (secrets or {}).items():
            self.add(name, secret)

    def add(self, name: str, *secrets: str) -> None:
        """Know more secrets under a name, from now on; also as they stand in a URL or in JSON."""
        for secret in secrets:
            if len(secret) >= SHORTEST:
                for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
                    self._named.setdefault(form, _plain(name))
        self._named = dict(sorted(self._named.items(), key=lambda item: -len(item[0])))  # the longest is found first

    def look_again(self) -> None:
        """Know what has become secret since: `load_dotenv` may have been called after the toolkit was made."""
        for name, secret in self._later().items() if self._later is not None else ():
            if secret not in self._named:
                self.add(name, secret)

    def redact(self, text: str) -> str:
        """The text with markers in the place of secrets. What is marked already stays so."""
        for secret, name in self._named.items():
            if secret in text:
                text = text.replace(secret, _marker(name))
        kept: list[str] = []
        end = 0
        for found in found_in(text) if self._formats else ():
            kept += [text[end : found.start], self._mark(found.format.label, text[found.start : found.end])]
            end = found.end
        return "".join([*kept, text[end:]]) if kept else text

    def redacted(self, value: Any) -> Any:
        """JSON with all its texts redacted, at any depth, keys too; pictures are left alone."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Mapping):
            return {
                self.redact(key) if isinstance(key, str) else key: each if key in _PICTURES else self.redacted(each)
                for key, each in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.redacted(each) for each in value]
        return value

    def restored(self, text: str, original: str) -> str:
        """A text that was written by somebody who saw `original` redacted, with its secrets where they left markers."""
        if "[redacted: " not in text:
            return text
        for secret, marker in self._stood(original):
            text = text.replace(marker, secret)
        return text

    def unfinished(self, text: str) -> int:
        """Where something begins that may turn out to be a secret when more text comes; the length, if nothing does."""
        start = max(len(text) - _WINDOW, 0)
        tail = text[start:]
        begins = [_overlap(tail, secret) for secret in self._named]
        begins += [each.unfinished(tail) for each in FORMATS] if self._formats else []
        cut = min((at for at in begins if at is not None), default=len(tail))
        for begin, end in sorted(self._spans(tail), reverse=True):
            if begin < cut < end:  # the end of one secret is not told apart from it
                cut = begin
        return start + cut

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the secrets of a text stand."""
        for secret in self._named:
            at = text.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = text.find(secret, at + 1)
        if self._formats:
            yield from ((found.start, found.end) for found in found_in(text))

    def _stood(self, original: str) -> Iterator[tuple[str, str]]:
        """The secrets of a text, each with the marker that it is shown as."""
        for secret, name in self._named.items():
            if secret in original:
                yield secret, _marker(name)
                original = original.replace(secret, _marker(name))
        for found in found_in(original) if self._formats else ():
            secret = original[found.start : found.end]
            yield secret, self._mark(found.format.label, secret)

    def _mark(self, label: str, secret: str) -> str:
        """Secrets of one kind are told apart by a number, so that each can be put back."""
        key = label, blake2b(secret.encode("utf-8", "replace"), digest_size=16).digest()
        if key not in self._numbers and len(self._numbers) < _TOLD_APART:
            self._counts[label] = self._counts.get(label, 0) + 1
            self._numbers[key] = self._counts[label]
        number = self._numbers.get(key, 0)
        return _marker(label if number == 1 else f"{label} {number or '…'}")


NOTHING = Redactor(formats=False)
"""Takes nothing out."""

CURRENT: ContextVar[Redactor] = ContextVar("redactor", default=NOTHING)
"""That of the toolkit whose call this is; `redact` uses it."""


def redact(text: str) -> str:
    """What may be shown of a text in this context."""
    return CURRENT.get().redact(text)


def found_in(text: str) -> list[Found]:
    """What has the form of a secret, in order; where two formats meet, the one that begins first or is listed first."""
    found = [each for kind in FORMATS for each in kind.search(text)]
    found.sort(key=lambda each: each.start)
    apart: list[Found] = []
    for each in found:
        if not apart or each.start >= apart[-1].end:
            apart.append(each)
    return apart


def kinds_of(text: str) -> list[str]:
    """What a text seems to hold, such as "an AWS key"; empty if nothing."""
    return list(dict.fromkeys(found.format.name for found in found_in(text)))


class RedactingFilter(logging.Filter):
    """Takes secrets out of log records, their stack traces included; for handlers.

    Args:
        redactor: Knows the secrets.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """The record, without secrets."""
        record.msg, record.args = self._redactor.redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redactor.redact(record.exc_text)
        return True


def _overlap(text: str, secret: str) -> int | None:
    """Where the end of a text is the beginning of a secret, but not all of it."""
    at = text.find(secret[0], max(len(text) - len(secret) + 1, 0))
    while at >= 0:
        if secret.startswith(text[at:]):
            return at
        at = text.find(secret[0], at + 1)
    return None


def _marker(name: str) -> str:
    return f"[redacted: {name}]"


def _plain(name: str) -> str:
    """A name that can stand in a marker."""
    return re.sub(r"[^\w .:/-]+", " ", name)[:_NAME].strip() or "secret"
