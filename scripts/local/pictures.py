"""Takes the README's pictures from the real pages. Fails rather than show what is not fit to be shown."""

import sys
from pathlib import Path

from local.api import ROOT
from local.browser import Browser, Remote, picture
from local.demo import showcase

WINDOW = {"width": 1280, "height": 860}
# By the picture's name: the place, and what of it comes last.
SHOWN = {
    "pages-dialog.png": ("contacts/{asha}/view", "li:nth-child(3) article"),
    "pages-messages.png": ("messages", "li:nth-child(3) article"),
    "pages-campaign.png": ("campaigns/{draft}", ".rows li"),
}
# Texts of pages that have nothing to show.
EMPTY = ("No contacts yet", "Nothing is", "Loading …", "No WhatsApp connections", "Nobody of that name", "No campaigns")

# Whatever is cut off although its style does not say so, and whether the page scrolls sideways.
CUT = """() => {
    const cut = [...document.querySelectorAll('body *:not(input, select, .sr, .skip)')].filter((one) => {
        const style = getComputedStyle(one)
        return one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1
            && style.overflowX !== 'visible' && style.textOverflow !== 'ellipsis'
    })
    const isWide = document.documentElement.scrollWidth > document.documentElement.clientWidth
    return [...cut.map((one) => one.outerHTML.slice(0, 100)), ...(isWide ? ['the page is wider than its window'] : [])]
}"""


def main() -> int:
    faults = []
    with showcase() as (pages, who), Browser() as browser:
        context = browser.newContext(viewport=WINDOW, timezoneId="Asia/Kolkata", locale="en-GB", deviceScaleFactor=1)
        page = context.newPage()
        page.goto(f"{pages.url}/demo")
        page.getByRole("button", name="Sign out").waitFor()
        page.goto(f"{pages.url}/#/messages/sent")
        page.locator(".status.sent").nth(5).waitFor(timeout=60_000)  # the daemon has been at work
        for name, (place, last) in SHOWN.items():
            page.goto(f"{pages.url}/#/{place.format(**who)}")
            page.locator(last).first().waitFor()
            page.getByText("Loading …").first().waitFor(state="hidden")
            faults += [f"{name}: {fault}" for fault in unfit(page)]
            (ROOT / "docs" / name).write_bytes(picture(page, fullPage=name == "pages-campaign.png"))
        faults += [f"console: {line}" for line in context.said()]
    for fault in faults:
        print(f"pictures: {fault}", file=sys.stderr)
    print(f"pictures: {', '.join(str(Path('docs') / name) for name in SHOWN)}")
    return 1 if faults else 0


def unfit(page: Remote) -> list[str]:
    text = page.locator("body").innerText()
    return [f"says {words!r}" for words in EMPTY if words in text] + cut_off(page)


def cut_off(page: Remote) -> list[str]:
    return list(page.evaluate(CUT))


if __name__ == "__main__":
    sys.exit(main())
