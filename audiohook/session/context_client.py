"""The calling half of the `context` dialect: the headers with which a peer introduces itself. Pure.

Knows neither HTTP nor frames: `wire/client.py` makes a request of what is returned here. What a daemon makes of them:
`session/context.py`.
"""


def upgrade_headers(
    *, call_id: str, session_id: str, user_id: str, participant_id: str, direction: str
) -> tuple[tuple[str, str], ...]:
    """Return the dialect's headers of an upgrade request, in the order in which the article lists them.

    `call_id` is a UUID; `direction` is `inbound`, `outbound`, or `unknown`, which is said by leaving the header out.
    Nothing is checked: a test of a server must be able to say what is wrong.
    """
    headers = (
        ("x-genesys-call-id", call_id),
        ("x-genesys-session-id", session_id),
        ("x-genesys-user-id", user_id),
        ("x-genesys-participant-id", participant_id),
    )
    return headers if direction == "unknown" else (*headers, ("x-genesys-direction", direction))
