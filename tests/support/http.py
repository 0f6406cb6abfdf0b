"""The operators' door, asked as a probe does."""

from __future__ import annotations

import urllib.error
import urllib.request


def get(endpoint: str, path: str) -> tuple[int, str]:
    """Return status and body of `http://endpoint/path`; raises URLError where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{endpoint}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
