"""A deliberately naive ext_authz server: each of its faults is one that somebody has shipped.

The adversarial suite must find every one of them; a suite that finds nothing here proves nothing anywhere.
Without faults it is a plain server that holds, so that what is found is the fault and not the server.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote

import grpc
from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.message import DecodeError

from authz.attack.message import METHOD
from authz.attack.oracle import protected_reading

HOST = "naive.test"
TOKEN = "naive-Good-key-0123456789-abcdef"
DEAD = "naive-dead-key-0123456789-abcdef"
LIMIT = 5


class Fault(Enum):
    """What is wrong with a server."""

    RAW_PREFIX = auto()  # matches the raw path, and what does not match is open
    CUTS_BLANKS = auto()  # takes what a path ends in for another path
    DECODES_ONCE = auto()  # decodes before it matches, once
    MATCHES_QUERY = auto()  # looks for an open path anywhere in the target
    ALLOWS_GARBAGE = auto()  # what cannot be decoded passes
    FAILS_ON_GARBAGE = auto()  # what cannot be decoded is an error of gRPC
    EMPTY_ON_EXCEPTION = auto()  # whatever breaks inside is answered with nothing
    TRIMS_KEYS = auto()  # takes a key out of what stands around it
    IGNORES_CASE_OF_KEYS = auto()
    TAKES_ANY_KEY = auto()
    FIRST_OF_TWO = auto()  # takes the first of two credentials
    LAST_OF_TWO = auto()
    KEY_FROM_QUERY = auto()
    KNOWS_ONE_HOST = auto()  # another spelling of the host is another host, and open
    LISTED_METHODS = auto()  # protects the methods that it lists
    FREE_OPTIONS = auto()
    FREE_PROBES = auto()  # health checks are known by their user agent
    TRUSTS_FORWARDED_URI = auto()
    TRUSTS_LOOPBACK = auto()  # by x-forwarded-for
    KEEPS_IDENTITY = auto()  # does not overwrite what the client says about itself
    KEEPS_UNDERSCORES = auto()  # overwrites it in one spelling only
    KEEPS_CREDENTIAL = auto()
    TELLS_DEAD_FROM_UNKNOWN = auto()
    TAKES_DEAD = auto()
    READS_ONE_MAP = auto()  # looks for credentials in the older map of headers only
    BELIEVES_PSEUDO = auto()  # believes `:path` and not the field
    OPEN_WITHOUT_PATH = auto()
    ANY_ORIGIN = auto()  # takes cookies from other sites
    COUNTS_PER_ADDRESS = auto()  # of x-forwarded-for
    FOLLOWS_UPGRADES = auto()  # does not look at upgrades
    SLOW_ON_MANY_HEADERS = auto()
    DIES_OF_GARBAGE = auto()  # answers nobody any more
    KEEPS_OVERRIDES = auto()
    KEEPS_LINE_BREAKS = auto()


class NaiveServer:
    """Answers checks: `/admin` and below needs the key, `/limited` as well and five times only."""

    def __init__(self, *faults: Fault) -> None:
        self._faults = frozenset(faults)
        self._spent: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._dead = threading.Event()

    def answer(self, payload: bytes, context: Any) -> bytes:
        """Answer one call."""
        if self._dead.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "dead")
        try:
            request = external_auth_pb2.CheckRequest.FromString(payload)
        except DecodeError:
            return self._undecodable(context)
        try:
            return self._judge(request.attributes.request.http)
        except ValueError:
            return b"" if Fault.EMPTY_ON_EXCEPTION in self._faults else _deny(400)

    def _undecodable(self, context: Any) -> bytes:
        if Fault.DIES_OF_GARBAGE in self._faults:
            self._dead.set()
        if Fault.ALLOWS_GARBAGE in self._faults:
            return _allow({}, ())
        if Fault.FAILS_ON_GARBAGE in self._faults or self._dead.is_set():
            context.abort(grpc.StatusCode.INTERNAL, "cannot decode")
        return _deny(400)

    def _judge(self, http: Any) -> bytes:
        headers = self._headers(http)
        if Fault.SLOW_ON_MANY_HEADERS in self._faults and len(headers) > 500:
            threading.Event().wait(3)
        path = headers.get(":path", [""])[0] if Fault.BELIEVES_PSEUDO in self._faults else http.path
        if self._free(http, path, headers):
            return _allow({}, ())
        fault = self._unreadable(http, path, headers)
        if fault:
            raise ValueError(fault)
        if not self._protected(path):
            return self._pass(headers, http.path)
        return self._with_credential(http, path, headers)

    def _headers(self, http: Any) -> Mapping[str, list[str]]:
        headers: dict[str, list[str]] = {}
        for entry in http.header_map.headers:
            headers.setdefault(entry.key.lower(), []).append(entry.raw_value.decode("latin-1"))
        if Fault.READS_ONE_MAP in self._faults:
            headers = {name: values for name, values in headers.items() if name != "x-api-key"}
        for name, value in http.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        return headers

    def _free(self, http: Any, path: str, headers: Mapping[str, list[str]]) -> bool:
        """Whether a fault lets this pass before anything is looked at."""
        faults = self._faults
        agent = "".join(headers.get("user-agent", [])).lower()
        forwarded = headers.get("x-forwarded-uri", [""])[0]
        return (
            (Fault.FREE_OPTIONS in faults and http.method == "OPTIONS")
            or (Fault.LISTED_METHODS in faults and http.method not in ("GET", "POST", "HEAD", "OPTIONS"))
            or (Fault.FREE_PROBES in faults and agent.startswith(("kube-probe", "googlehc")))
            or (Fault.TRUSTS_FORWARDED_URI in faults and forwarded == "/open")
            or (Fault.TRUSTS_LOOPBACK in faults and headers.get("x-forwarded-for") == ["127.0.0.1"])
            or (Fault.KNOWS_ONE_HOST in faults and http.host != HOST)
            or (Fault.MATCHES_QUERY in faults and "/open" in path)
            or (Fault.OPEN_WITHOUT_PATH in faults and not path.startswith("/"))
            or (Fault.FOLLOWS_UPGRADES in faults and "upgrade" in headers)
        )

    def _unreadable(self, http: Any, path: str, headers: Mapping[str, list[str]]) -> str:
        """Return what is odd about a request: a server without faults refuses it."""
        values = "".join(value for several in headers.values() for value in several)
        if any(letter in values for letter in "\r\n\0") and Fault.KEEPS_LINE_BREAKS not in self._faults:
            return "a line break"
        if http.host != HOST and Fault.KNOWS_ONE_HOST not in self._faults:
            return "another host"
        if http.method not in ("GET", "POST", "HEAD", "OPTIONS") or not path.startswith("/"):
            return "no plain request"
        if http.header_map.headers and http.headers:
            return "two maps"
        pseudo = {":path": http.path, ":method": http.method, ":authority": http.host}
        if Fault.BELIEVES_PSEUDO not in self._faults and any(
            headers.get(name, [value]) != [value] for name, value in pseudo.items()
        ):
            return "a contradiction"
        if "upgrade" in headers and Fault.FOLLOWS_UPGRADES not in self._faults:
            return "an upgrade"
        overrides = any("override" in name or name == "x-http-method" for name in headers)
        return "an override" if overrides and Fault.KEEPS_OVERRIDES not in self._faults else ""

    def _protected(self, path: str) -> bool:
        plain = path.partition("?")[0]
        if Fault.RAW_PREFIX in self._faults:
            return plain.startswith(("/admin", "/limited"))
        if Fault.CUTS_BLANKS in self._faults and "%" in plain:
            return plain in ("/admin", "/limited")
        if Fault.DECODES_ONCE in self._faults:
            return unquote(plain).startswith(("/admin", "/limited"))
        return plain != "/open" or protected_reading(path, "/admin") is not None

    def _with_credential(self, http: Any, path: str, headers: Mapping[str, list[str]]) -> bytes:
        presented = self._presented(path, headers)
        if len(presented) != 1:
            return _deny(401)
        token = TOKEN if Fault.TAKES_ANY_KEY in self._faults else self._trimmed(presented[0])
        if token == DEAD and Fault.TELLS_DEAD_FROM_UNKNOWN in self._faults:
            return _deny(401, "revoked")
        if token != TOKEN and not (token == DEAD and Fault.TAKES_DEAD in self._faults):
            return _deny(401)
        if "cookie" in headers and http.method == "POST" and Fault.ANY_ORIGIN not in self._faults:
            return _deny(401)
        if path.partition("?")[0] not in ("/admin", "/limited"):
            return _deny(403)
        return self._limited(path, headers) or self._pass(headers, http.path)

    def _presented(self, path: str, headers: Mapping[str, list[str]]) -> list[str]:
        found = [part for value in headers.get("x-api-key", []) for part in value.split(",")]
        for cookie in headers.get("cookie", []):
            pieces = (piece.strip().partition("=") for piece in cookie.replace(",", ";").split(";"))
            found += [value for name, _, value in pieces if name == "session"]
        if Fault.KEY_FROM_QUERY in self._faults and "token=" in path:
            found.append(path.partition("token=")[2])
        if Fault.FIRST_OF_TWO in self._faults:
            return found[:1]
        return found[-1:] if Fault.LAST_OF_TWO in self._faults else found

    def _trimmed(self, token: str) -> str:
        if Fault.TRIMS_KEYS in self._faults:
            token = token.strip(" \t'\";")
        lower = Fault.IGNORES_CASE_OF_KEYS in self._faults and token.lower() == TOKEN.lower()
        return TOKEN if lower else token

    def _limited(self, path: str, headers: Mapping[str, list[str]]) -> bytes | None:
        if not path.startswith("/limited"):
            return None
        address = headers.get("x-forwarded-for", [""])[0]
        bucket = address if Fault.COUNTS_PER_ADDRESS in self._faults else ""
        with self._lock:
            self._spent[bucket] += 1
            return _deny(429) if self._spent[bucket] > LIMIT else None

    def _pass(self, headers: Mapping[str, list[str]], path: str) -> bytes:
        removed = ["x-api-key", "cookie"] if Fault.KEEPS_CREDENTIAL not in self._faults else []
        if Fault.KEEPS_IDENTITY in self._faults:
            return _allow({}, removed)
        forms = [name for name in headers if name.replace("_", "-").replace(".", "-") == "x-user"]
        if Fault.KEEPS_UNDERSCORES in self._faults:
            forms = []
        return _allow({"x-user": "somebody"}, [*removed, *(name for name in forms if name != "x-user")])


def _allow(headers: Mapping[str, str], removed: Any) -> bytes:
    response = external_auth_pb2.CheckResponse()
    response.status.code = 0
    for name, value in headers.items():
        response.ok_response.headers.add().header.CopyFrom(_header(name, value))
    response.ok_response.headers_to_remove.extend(removed)
    return bytes(response.SerializeToString())


def _header(name: str, value: str) -> Any:
    from envoy.config.core.v3 import base_pb2

    return base_pb2.HeaderValue(key=name, value=value)


def _deny(status: int, body: str = "no") -> bytes:
    response = external_auth_pb2.CheckResponse()
    response.status.code = 7
    response.denied_response.status.code = status
    response.denied_response.body = body
    return bytes(response.SerializeToString())


@contextmanager
def naive(*faults: Fault) -> Iterator[str]:
    """Serve with these faults; yields `127.0.0.1:PORT`."""
    server = NaiveServer(*faults)
    method = grpc.unary_unary_rpc_method_handler(server.answer)
    service, _, name = METHOD[1:].rpartition("/")
    handler = grpc.method_handlers_generic_handler(service, {name: method})
    options = [("grpc.so_reuseport", 0)]
    running = grpc.server(futures.ThreadPoolExecutor(8), handlers=(handler,), options=options)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        running.stop(0).wait()
