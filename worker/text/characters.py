"""Which characters show nothing, and what people mean by those of other scripts: by Unicode's own properties, no lists.

What is pasted from a chat, a table or a document brings marks of direction, joiners, soft hyphens and digits of other
scripts along (Unicode Standard, chapters 4.5 and 23; Python's `unicodedata`).
"""

from functools import lru_cache
from unicodedata import category, combining, name, normalize

BRAILLE_BLANK = "\u2800"  # a symbol by its category, yet nothing to see
ENDINGS = {
    "PLUS SIGN": "+", "MINUS SIGN": "-", "PROLONGED SOUND MARK": "-", "HYPHEN BULLET": "-",
    "FULL STOP": ".", "MIDDLE DOT": ".", "SOLIDUS": "/", "SLASH": "/", "TILDE": "~",
}  # fmt: skip
BY_CATEGORY = {"Pd": "-", "Ps": "(", "Pe": ")", "Zs": " ", "Zl": " ", "Zp": " ", "Cc": " "}


@lru_cache(maxsize=4096)
def is_invisible(character: str) -> bool:
    """Format characters, variation selectors, enclosing keycaps, fillers: none of them can be read."""
    kind = category(character)
    if kind in ("Mn", "Me"):
        return combining(character) == 0  # the others are strokes and accents, which change what is read
    return kind == "Cf" or character == BRAILLE_BLANK or (kind == "Lo" and name(character, "").endswith("FILLER"))


def is_blank(text: str) -> bool:
    """Whether there is nothing to read in it."""
    return all(character.isspace() or category(character) == "Cc" or is_invisible(character) for character in text)


def trimmed(written: str) -> str:
    """Without what cannot be seen at its ends, such as the marks of direction around what was copied from a chat."""
    seen = [place for place, character in enumerate(written) if not is_blank(character)]
    return written[seen[0] : seen[-1] + 1] if seen else ""


def plain(written: str) -> str:
    """An address as ASCII where it means ASCII: what is invisible is gone, digits and signs are those of a keyboard."""
    if written.isascii() and written.isprintable():
        return written.strip()
    return "".join(map(_plain, written)).strip()


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    if is_invisible(character):
        return ""
    kind = category(character)
    if kind == "Nd":
        return str(int(character))
    if character.isascii() and kind != "Cc":
        return character
    if kind in BY_CATEGORY:
        return BY_CATEGORY[kind]
    called = name(character, "")
    meant = [sign for ending, sign in ENDINGS.items() if called.endswith(ending) and "MINUS-OR" not in called]
    if meant:
        return meant[0]
    same = normalize("NFKC", character)
    # Circled digits and superscripts are marks of a list or a footnote: nobody can tell whether they belong here.
    return same if same.isascii() and len(same) == 1 and not same.isdigit() else character


def spelled(character: str) -> str:
    """For error texts: something that can be told apart from what looks like it."""
    if character.isascii() and character.isprintable():
        return repr(character)
    return f"U+{ord(character):04X} ({name(character, 'no character').lower()})"
