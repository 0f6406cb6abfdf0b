"""What may stand in a record: bounds for what clients control, and no place for a credential.

Texts are shortened with a marker, never dropped: a record of an attack must show the attack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from authz.model.errors import ConfigError
from authz.model.identity import CredentialPlace, PlaceKind
from authz.model.text import header_text, percent_decode

# Characters kept of each text; about what honest clients send, so that a line stays near 1 KiB.
METHOD_MAX = 32
HOST_MAX = 255  # RFC 1035, section 2.3.4
PATH_MAX = 1024
PROTOCOL_MAX = 16
REQUEST_ID_MAX = 128
TRACE_ID_MAX = 32
HEADER_MAX = 256
NAME_MAX = 256  # subjects, customers, scopes, labels: a token's issuer chooses them
ITEMS_MAX = 32  # scopes, labels, headers of one record

# Key id, then at least half of a secret; or as many letters and digits as a secret has, and not all of one
# case: digests in hex, which have that length too, stay.
_FORM = re.compile(
    r"([0-9A-Za-z]{12}_)[0-9A-Za-z]{24,}"
    r"|(?<![0-9A-Za-z])(?=[0-9A-Z]*[a-z])(?=[0-9a-z]*[A-Z])[0-9A-Za-z]{43,}"
)
_MASKED = re.compile(rb"[0-9A-Za-z]{12}(_|%(25)*(5[fF])?)\*\*\*")
FORM_MIN = 36  # characters; nothing of that length has one of these forms: a UUID, most of all
_ESCAPE_DEPTH = 3  # how often a text is decoded to find one

_WORST_ESCAPE = 6  # one character may take six bytes of JSON: \u0000

# SECURITY: anything that is or may stand for a credential, or for a body, in whatever spelling headers take.
# A name too many costs an operator one header in his records; one too few writes secrets down.
_CREDENTIAL_WORDS = re.compile(
    r"auth?ori[sz]ation|authenti(cat|fic)|cookie|credential|api-?key|keys?(-|$)|token|secret"
    r"|pass(w|-?phrase|-?code|-|$)|pwd"
    r"|session|sess-?id|signature|assertion|jwt|bearer|oauth|oidc|saml|otp|csrf|xsrf|dpop|hmac|ticket|kerberos"
    r"|negotiate|ntlm|spnego|certificate|(client|peer|tls|ssl)-?cert|magic-?link|recovery|macaroon|paseto"
    r"|(access|verification|one-?time)-?code|post-?data"
    r"|(^|-)(x?auth[0-9]?|authn|basic|body|certs?|creds?|jw[es]|login|mac|mfa|2fa|tfa|payload|pin|puk|pw|sas|sess"
    r"|sid|sig|sign|sso|tok)($|-)"
    r"|^sec-websocket-protocol$"  # browsers can set no other header there, and so tokens go in this one
)
# The same with separators put in between; short words would be found in honest names.
_SQUASHED_WORDS = re.compile(
    r"authori[sz]ation|authenticat|cookie|credential|apikey|accesskey|secret|password|passphrase|session"
    r"|signature|assertion|bearer|certificate|basicauth"
)
_ADDRESS_WORDS = re.compile(
    r"(^|-)forwarded$|(forwarded|proxied)-for|(client|real|connecting|remote|source|peer|user|socket|geo)-?(ip|addr)"
    r"|external-address$|(^|-)ip(v[46]|-?addr|-|$)"
)
_SEPARATORS = re.compile(r"[^0-9a-z]")
_QUERY = re.compile(r"[?#]|%3[fF]")
_USERINFO = re.compile(r"[^/@]*@")
_URL_USERINFO = re.compile(r"//[^/@]*@")


def clean(text: str, bound: int) -> str:
    """Return a text that encodes to UTF-8 and is at most `bound` characters and a marker long."""
    if len(text) <= bound and text.isascii() and text.isprintable():
        return text
    # What escaping makes longer is cut sooner, so that a hostile line is no longer than an honest one.
    kept = (
        text[:bound]
        if text[:bound].isascii() and text[:bound].isprintable()
        else text[: bound // _WORST_ESCAPE]
    )
    # A lone surrogate is no character: strict parsers refuse a line that holds one, even escaped.
    sound = kept.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    cut = len(text) - len(kept)
    return f"{sound}...[+{cut} characters]" if cut else sound


def without_tokens(line: bytes, prefix: bytes) -> bytes:
    """Return a line in which no API token with this prefix is left, whole or shortened; key ids stay."""
    return _tokens(prefix).sub(rb"\1***", line)


def without_key_ids(line: bytes) -> bytes:
    """Return a line in which of a token that was masked not even the key's id is left."""
    return _MASKED.sub(b"***", line) if b"***" in line else line


@lru_cache(8)
def _tokens(prefix: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(%b[0-9A-Za-z]{12}_)[0-9A-Za-z]+" % re.escape(prefix))


def masked(text: str) -> str:
    """Return a text in which nothing of the form of a token or of its secret is left; key ids stay.

    SECURITY: a key whose brand was mistyped or cut off, or that stands there in escapes, is somebody's secret
    still. What hides one in escapes is returned decoded: the spelling matters less.
    """
    if len(text) <= FORM_MIN:
        return text
    text = _FORM.sub(r"\1***", text)
    plain = text
    for _ in range(_ESCAPE_DEPTH if "%" in text else 0):
        plain = percent_decode(plain)
        if _FORM.search(plain):
            return _FORM.sub(r"\1***", plain)
    return text


def clean_path(raw: str) -> str:
    """Return a path as sent without query, fragment and userinfo, shortened."""
    path = _QUERY.split(raw[: 8 * PATH_MAX], maxsplit=1)[0]
    if path.startswith("/") and not path.startswith("//"):
        return clean(masked(path), PATH_MAX)
    return clean(masked(_USERINFO.sub("", path)), PATH_MAX)  # absolute form: may hold user:password@


def clean_authority(raw: str) -> str:
    """Return a host as sent without userinfo, path and query, shortened."""
    host = _QUERY.split(raw[: 8 * PATH_MAX], maxsplit=1)[0]
    return clean(masked(host.rpartition("@")[2]), HOST_MAX)


def clean_word(raw: str, bound: int) -> str:
    """Return a word as sent (a method, a protocol) without the query that a broken request may put there."""
    return clean(masked(_QUERY.split(raw[: 8 * PATH_MAX], maxsplit=1)[0]), bound)


def is_credential_name(name: str) -> bool:
    """Whether a header of this name may hold a credential, whatever the policies say."""
    spelled = _spelled(name)
    return bool(_CREDENTIAL_WORDS.search(spelled) or _SQUASHED_WORDS.search(spelled.replace("-", "")))


def check_header_names(names: Iterable[str]) -> None:
    """Refuse a list of headers to record if a credential may stand in one.

    Raises:
        ConfigError: names the first such header.
    """
    for name in names:
        if is_credential_name(name):
            raise ConfigError(
                f"record_headers: `{name}` may hold a credential and is never recorded; take it off the list"
            )


def check_hidden_headers(names: Iterable[str], hidden: Iterable[str]) -> None:
    """Refuse a list of headers to record if one tells what shall stand in records as a pseudonym alone.

    Raises:
        ConfigError: names the first such header.
    """
    if "client_address" not in hidden:
        return
    for name in names:
        if _ADDRESS_WORDS.search(_spelled(name)):
            raise ConfigError(
                f"record_headers: `{name}` tells the client's address, which record_pseudonyms hides; take"
                " one of them off its list"
            )


def recordable(names: Iterable[str], places: Iterable[CredentialPlace]) -> tuple[str, ...]:
    """Return the headers that may be recorded: those listed, but for credentials' places.

    Args:
        names: the operator's list.
        places: of every provider of the policy set, which may name any header.
    """
    taken = {_spelled(place.name) for place in places if place.kind is PlaceKind.HEADER}
    return tuple(name for name in names if _spelled(name) not in taken and not is_credential_name(name))[
        :ITEMS_MAX
    ]


def header_values(headers: Mapping[str, bytes], names: tuple[str, ...]) -> dict[str, str]:
    """Return the listed headers that came, without query strings (as in `referer`), shortened."""
    return {name: _value(headers[name]) for name in names if name in headers}


def _value(raw: bytes) -> str:
    text = _QUERY.split(header_text(raw[: 8 * PATH_MAX]), maxsplit=1)[0]
    return clean(masked(_URL_USERINFO.sub("//", text) if "@" in text else text), HEADER_MAX)


def _spelled(name: str) -> str:
    return _SEPARATORS.sub("-", name.lower())
