"""A person who signed up through the real auth API, and what the front end may do in that person's name."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class User:
    """`http` is the REST API in this user's name; `connection_id` is a connection that the user owns."""

    id: str
    token: str
    http: httpx.Client
    connection_id: str
    email: str = ""
    refresh_token: str = ""

    def insert(self, table: str = "scheduled_messages", **columns: Any) -> dict[str, Any]:
        """The row as the API returns it. Raises httpx.HTTPStatusError where the API refuses it."""
        return only(self.http.post(f"/{table}", json=columns, headers={"prefer": "return=representation"}))

    def update(self, row_id: str, **columns: Any) -> dict[str, Any]:
        return only(
            self.http.patch(
                "/scheduled_messages",
                params={"id": f"eq.{row_id}"},
                json=columns,
                headers={"prefer": "return=representation"},
            )
        )

    def delete(self, row_id: str) -> dict[str, Any]:
        return only(
            self.http.delete(
                "/scheduled_messages",
                params={"id": f"eq.{row_id}"},
                headers={"prefer": "return=representation"},
            )
        )

    def row(self, row_id: str) -> dict[str, Any]:
        return only(self.http.get("/scheduled_messages", params={"id": f"eq.{row_id}"}))


def only(answer: httpx.Response) -> dict[str, Any]:
    """The single row of an answer."""
    answer.raise_for_status()
    [row] = answer.json()
    return dict(row)


def sign_up(stack: dict[str, str]) -> User:
    """A new user with a connection."""
    anonymous = {"apikey": stack["SUPABASE_ANON_KEY"]}
    email = f"{uuid4()}@example.com"
    answer = httpx.post(
        f"{stack['SUPABASE_URL']}/auth/v1/signup",
        json={"email": email, "password": PASSWORD},
        headers=anonymous,
        trust_env=False,
    )
    answer.raise_for_status()
    session = answer.json()
    token = session["access_token"]
    http = httpx.Client(
        base_url=f"{stack['SUPABASE_URL']}/rest/v1",
        headers=anonymous | {"authorization": f"Bearer {token}"},
        trust_env=False,
    )
    connection = only(http.post("/connections", json={"name": "shop"}, headers={"prefer": "return=representation"}))
    return User(session["user"]["id"], token, http, connection["id"], email, session["refresh_token"])
