"""Characters that look alike, that are not seen, and that lie beside each other; and a text as a reader sees it (`skeleton`).

The look-alikes are our own choice from what the Unicode tables of confusables record for ASCII letters and digits (UTS #39): Cyrillic, Greek,
Armenian and Latin letters of the same shape in common fonts, and the full-width forms, which a wider font tells apart.
"""

from __future__ import annotations

import re
import unicodedata

_ALIKE = {
    "a": "аɑ", "c": "сϲ", "d": "ԁ", "e": "е", "g": "ɡ", "h": "һ", "i": "іι", "j": "јϳ", "k": "κ", "l": "ӏ", "n": "ո", "o": "оοօ", "p": "рρ",
    "q": "ԛ", "r": "г", "s": "ѕ", "u": "սυ", "v": "νѵ", "w": "ԝ", "x": "х", "y": "уγ", "z": "ᴢ",
    "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ", "G": "Ԍ", "H": "НΗ", "I": "ІΙ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ",
    "S": "Ѕ", "T": "ТΤ", "V": "Ѵ", "W": "Ԝ", "X": "ХΧ", "Y": "ҮΥ", "Z": "Ζ", "0": "Ο", "3": "З", "6": "б",
}  # fmt: skip
_WIDE = 0xFEE0
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ASCII = LETTERS + LETTERS.upper() + "0123456789"
HOMOGLYPHS: dict[str, str] = {c: _ALIKE.get(c, "") + chr(ord(c) + _WIDE) for c in ASCII}
"""For each ASCII letter and digit the characters that look like it, the most alike first."""
_FOLD: dict[int, str] = {ord(other): c for c, others in reversed(_ALIKE.items()) for other in others}
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
"""Characters without width: zero-width space, non-joiner, joiner, word joiner, no-break space."""
OVERRIDE, POP, BACKSPACE = "\u202e", "\u202c", "\b"
"""Begin of a run that is shown from right to left, its end (UAX #9), and the control that takes the character before it away."""
_UNSEEN = frozenset("\u034f\u115f\u1160\u3164\uffa0")
_RUN = re.compile(f"{OVERRIDE}([^\u202a-\u202e\u2066-\u2069]*){POP}")
_TAKEN = re.compile(f"[^{BACKSPACE}\n]{BACKSPACE}")
_ROWS = ("`1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./")


def _neighbours() -> dict[str, str]:
    """Keys left, right, above and below on a QWERTY keyboard, where each row is shifted by half a key."""
    at = {c: (x + y * 0.5 - (y == 0) * 0.5, y) for y, row in enumerate(_ROWS) for x, c in enumerate(row)}
    near = {c: "".join(d for d, (u, v) in at.items() if d != c and abs(u - x) <= 1 and abs(v - y) <= 1) for c, (x, y) in at.items()}
    near = {c: "".join(d for d in others if d.isalnum()) for c, others in near.items() if c.isalnum()}
    return near | {c.upper(): others.upper() for c, others in near.items() if c.isalpha()}


KEYBOARD: dict[str, str] = _neighbours()
"""For each letter and digit its neighbours on a QWERTY keyboard that are letters or digits, in the same case."""


def unseen(c: str) -> bool:
    """Whether a character has no shape of its own: controls, formats (zero width, directions), fillers, variation selectors."""
    return (c not in "\n\t\r" and unicodedata.category(c) in ("Cc", "Cf")) or c in _UNSEEN or "\ufe00" <= c <= "\ufe0f"


def plain(c: str) -> bool:
    """Whether a character is what it looks like: seen, and no look-alike of an ASCII character."""
    return not unseen(c) and ord(c) not in _FOLD and not 0xFF01 <= ord(c) <= 0xFF5E


def alike(a: str, b: str) -> bool:
    """Whether b is a look-alike of the ASCII character a."""
    return b in HOMOGLYPHS.get(a, "")


def shown(text: str) -> str:
    """The characters in the order a screen shows them: runs under a right-to-left override turned around, backspaces carried out."""
    before = ""
    while before != text:
        before, text = text, _RUN.sub(lambda run: run[1][::-1], text)
    before = ""
    while before != text:
        before, text = text, _TAKEN.sub("", text)
    return text


def skeleton(text: str) -> str:
    """A text as a reader sees it: as shown, compatibility forms composed (NFKC), look-alikes folded to ASCII, unseen characters taken out.

    Two texts that look the same have the same skeleton. It is made for Latin script: Cyrillic and Greek words are folded too.

    >>> skeleton("vi\\u0430gr\\u200ba")
    'viagra'
    """
    composed = unicodedata.normalize("NFKC", shown(text).translate(_FOLD))  # before too: NFKC turns a lunate sigma into another sigma
    return "".join(c for c in composed.translate(_FOLD) if not unseen(c))
