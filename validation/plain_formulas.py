"""LaTeX formulas as a line of Unicode, for a terminal: ``W₂²(μ, ν)``, with raised and lowered letters."""

import re
import unicodedata
from xml.etree import ElementTree

from refwfm.validation.formulas import FUNCTIONS, NAMESPACE, is_prose, mathml


def _scripts(kind: str) -> dict[str, str]:
    """Letters that Unicode also has raised (``<super>``) or lowered (``<sub>``)."""
    found: dict[str, str] = {}
    for code in (*range(0xB2, 0xBA), *range(0x1D2C, 0x1D6B), *range(0x2070, 0x20A0), 0x2C7C):
        decomposed = unicodedata.decomposition(chr(code)).split()
        if len(decomposed) == 2 and decomposed[0] == kind:
            found.setdefault(chr(int(decomposed[1], 16)), chr(code))
    return found | {"-": found["\N{MINUS SIGN}"], "\N{MIDDLE DOT}": "\N{MIDDLE DOT}"}


RAISED, LOWERED = _scripts("<super>"), _scripts("<sub>")
ABOVE = {
    "^": "\N{COMBINING CIRCUMFLEX ACCENT}",
    "~": "\N{COMBINING TILDE}",
    "¯": "\N{COMBINING MACRON}",
    "―": "\N{COMBINING MACRON}",
    "˙": "\N{COMBINING DOT ABOVE}",
}
AFTER_NAME, AFTER_SCRIPT = "\N{THIN SPACE}", "\N{HAIR SPACE}"
"""Spaces that stand only before what would be read as part of a name or an index: ``log x``, ``A_c x``."""
SCRIPT_LETTERS = re.escape("".join([*RAISED.values(), *LOWERED.values()]))
RELATIONS = frozenset("=≤≥≠≈∼≍≲←→⇒↦∈∣")


def plain(latex: str, /) -> str:
    r"""Return a formula as a line of text: ``\tfrac12 W_2^2`` is ``1/2 W₂²``.

    What Unicode can neither raise nor lower stands behind ``^`` and ``_``, in brackets where it is longer
    than a letter; so do numerators and denominators.

    Raises
    ------
    ValueError
        If a command is unknown.
    """
    text = _text(ElementTree.fromstring(mathml(latex)))
    text = re.sub(
        rf"{AFTER_NAME}(?=[\s(_^,{SCRIPT_LETTERS}])|{AFTER_SCRIPT}(?=[^\w∑∫∇∂⟨{{]|[{SCRIPT_LETTERS}])",
        "",
        text,
    )
    text = re.sub(r"(?<=[(\[⟨]) | (?=[)\],;])", "", text)
    text = unicodedata.normalize("NFC", " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split()))
    return re.sub(r"(^|[=(\[,←→~] ?)\N{MINUS SIGN} ", "\\1\N{MINUS SIGN}", text)  # of one side only


def plain_or_prose(text: str, /) -> str:
    """Return a formula as a line of text; of a sentence, the formulas between dollars."""
    if not is_prose(text):
        return plain(text)
    parts = text.split("$")
    return "".join(plain(part) if index % 2 else part for index, part in enumerate(parts))


def _text(element: ElementTree.Element) -> str:
    parts = [_text(child) for child in element]
    match element.tag.removeprefix(f"{{{NAMESPACE}}}"):
        case "msub" | "munder":
            return parts[0] + _script(parts[1], LOWERED, "_") + (AFTER_NAME if AFTER_NAME in parts[0] else "")
        case "msup":
            return parts[0] + _script(parts[1], RAISED, "^")
        case "msubsup" | "munderover":
            return parts[0] + _script(parts[1], LOWERED, "_") + _script(parts[2], RAISED, "^")
        case "mover":
            return parts[0] + (ABOVE.get(parts[1].strip()) or _script(parts[1], RAISED, "^"))
        case "mfrac":
            return f" {_grouped(parts[0])}/{_grouped(parts[1])} "
        case "msqrt":
            return f"√{_grouped(parts[0])}"
        case "mspace":
            return " "
        case "mtr":
            return ", ".join(parts)
        case "mtable":
            return "; ".join(parts)
        case _:
            return _word((element.text or "") + "".join(parts), bool(parts))


def _word(text: str, composed: bool) -> str:
    if composed:
        return text
    if text in RELATIONS or text in ("+", "\N{MINUS SIGN}"):
        return f" {text} "
    return f" {text}{AFTER_NAME}" if text.strip() in FUNCTIONS else f"{text} " if text in (",", ";") else text


def _script(text: str, letters: dict[str, str], sign: str) -> str:
    text = "".join(text.split())  # and without the spaces of relations
    if text in ("'", "\N{PRIME}"):
        return "\N{PRIME}"
    if all(letter in letters for letter in text):
        return "".join(letters[letter] for letter in text)
    return sign + _grouped(text) + AFTER_SCRIPT


def _grouped(text: str) -> str:
    text = text.strip()
    letters = [letter for letter in text if not unicodedata.combining(letter)]
    return text if len(letters) == 1 or text.isdigit() else f"({text})"
