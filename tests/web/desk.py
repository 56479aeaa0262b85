"""Somebody in front of a browser window."""

import json
from typing import Any
from urllib.parse import urlencode

from local.browser import Browser, BrowserError, Remote
from tests.helpers.accounts import PASSWORD, User

LAPTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


class Desk:
    """`page` is Playwright's; what is asked for most often has a word of its own."""

    def __init__(self, browser: Browser, url: str, person: User | None, options: dict[str, Any]) -> None:
        self.url, self.person = url, person
        self.context: Remote = browser.newContext(**{"viewport": LAPTOP, "timezoneId": "Asia/Kolkata", **options})
        self.page: Remote = self.context.newPage()
        self._is_signed_in = False

    def open(self, path: str = "contacts") -> "Desk":
        """A page, by what follows '#/' in its address. A link as from an e-mail signs the person in."""
        if self.person and not self._is_signed_in:
            token = {"access_token": self.person.token, "refresh_token": self.person.refresh_token}
            self.page.goto(f"{self.url}/#{urlencode({**token, 'expires_in': 3600, 'token_type': 'bearer'})}")
            self.button("Sign out").waitFor()
            self._is_signed_in = True
        self.page.goto(f"{self.url}/#/{path}")
        return self

    def sign_in(self, person: User) -> None:
        """By hand."""
        self.fill("E-mail", person.email)
        self.fill("Password", PASSWORD)
        self.press("Sign in")
        self.button("Sign out").waitFor()

    def button(self, name: str, **options: Any) -> Remote:
        return self.page.getByRole("button", name=name, **{"exact": True, **options})

    def press(self, name: str) -> None:
        self.button(name).click()

    def follow(self, name: str) -> None:
        self.page.getByRole("link", name=name, exact=True).click()

    def field(self, label: str) -> Remote:
        return self.page.getByLabel(label, exact=True)

    def fill(self, label: str, text: str) -> None:
        self.field(label).fill(text)

    def choose(self, label: str, value: Any) -> None:
        self.field(label).selectOption(value)

    def sees(self, text: str, **options: Any) -> None:
        """Waits until it stands there. Fails with what stands there instead."""
        try:
            self.page.getByText(text, **options).first().waitFor()
        except BrowserError as error:
            raise BrowserError(f"{error}\nThe window shows:\n{self.page.locator('body').innerText()}") from None

    def misses(self, text: str) -> None:
        """Waits until it stands there no more."""
        self.page.getByText(text).first().waitFor(state="hidden")

    def texts(self, selector: str) -> list[str]:
        return [" ".join(text.split()) for text in self.page.locator(selector).allInnerTexts()]

    def schedule(self, contact: dict[str, Any], text: str, **fields: str) -> None:
        """From anywhere: the dialog of a contact, its form filled in and sent off. `fields`: wall, zone, pattern."""
        self.open(f"contacts/{contact['id']}/new")
        self.fill("Message", text)
        if "zone" in fields:
            self.choose("Time zone", fields["zone"])
        if "wall" in fields:
            self.fill("Date and time", fields["wall"])
        if "pattern" in fields:
            self.field("Recurring message").check()
            self.choose("Pattern", fields["pattern"])
        self.press("Schedule Message")
        self.sees("Scheduled for")

    def stored(self, name: str) -> Any:
        """What the page keeps in this tab."""
        return json.loads(self.page.evaluate(f"sessionStorage.getItem({json.dumps(name)})") or "null")


__all__ = ["LAPTOP", "PHONE", "BrowserError", "Desk"]
