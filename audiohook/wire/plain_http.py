"""Answers to requests that are no upgrade: is anybody there, and is it about to leave? Pure.

For balancers and operators. Whatever else is asked for is not here (404).
"""

from audiohook.errors import METHOD_NOT_ALLOWED, NOT_FOUND
from audiohook.wire.request import Request, refusal_bytes, response_bytes

HEALTH_TARGET = "/healthz"


def plain_answer(request: Request, *, draining: bool) -> tuple[bytes, str]:
    """Return the answer and the word it is counted under. 200 while new calls are taken, 503 once they are not."""
    answer, kind = _answer(request, draining)
    if request.method == "HEAD":
        # RFC 9110 section 9.3.2: the same head, content-length and all, without the content.
        answer = answer[: answer.index(b"\r\n\r\n") + 4]
    return answer, kind


def _answer(request: Request, draining: bool) -> tuple[bytes, str]:
    if request.target.partition("?")[0] != HEALTH_TARGET:
        return refusal_bytes(NOT_FOUND), NOT_FOUND.slug
    if request.method not in ("GET", "HEAD"):
        return refusal_bytes(METHOD_NOT_ALLOWED), METHOD_NOT_ALLOWED.slug
    status, body = (503, "draining") if draining else (200, "ok")
    return response_bytes(status, body), "health_checks"
