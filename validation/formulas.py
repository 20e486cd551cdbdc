"""LaTeX formulas as MathML, which every browser renders without a script."""

import re
import unicodedata
from contextlib import suppress
from html import escape
from xml.etree import ElementTree

from latex2mathml.converter import convert

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
STYLES = {
    "bold": ("BOLD",),
    "bold-italic": ("BOLD ITALIC",),
    "script": ("SCRIPT",),
    "fraktur": ("FRAKTUR", "BLACK-LETTER"),
    "double-struck": ("DOUBLE-STRUCK",),
    "sans-serif": ("SANS-SERIF",),
    "monospace": ("MONOSPACE",),
}
"""Unicode's names of the mathematical alphabets: browsers know no other way to write these letters."""

MISSING = {
    r"\arg": r"\operatorname{arg}",
    r"\argmin": r"\operatorname{arg\,min}",
    r"\lVert": r"\|",
    r"\rVert": r"\|",
}
"""Commands the converter does not know."""

FUNCTIONS = frozenset(
    (
        "exp",
        "log",
        "ln",
        "min",
        "max",
        "sup",
        "inf",
        "det",
        "arg",
        "argmin",
        "argmax",
        "Tr",
        "tr",
        "Cov",
        "diag",
        "vech",
        "unvech",
        "sign",
        "KL",
    )
)
"""Names that stand apart from what comes before them, and from what follows unless it is a bracket."""

LIMITS = frozenset(("inf", "sup", "min", "max", "argmin", "argmax"))
"""Those of them whose index stands below, in a formula of its own."""

ElementTree.register_namespace("", NAMESPACE)


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


SCRIPTED = frozenset(map(_tag, ("msub", "msup", "msubsup", "munder")))


def mathml(latex: str, /, *, display: bool = True) -> str:
    """Return a ``<math>`` element, with the LaTeX as its text for those who cannot see it.

    Raises
    ------
    ValueError
        If a command is unknown.
    """
    source = re.sub(r"\\[a-zA-Z]+", lambda found: MISSING.get(found[0], found[0]), latex)
    tree = ElementTree.fromstring(convert(source, display="block" if display else "inline"))
    for parent in tree.iter():
        _join_upright(parent)
    for element in tree.iter():
        _spell(element)
    for parent in list(tree.iter()):
        for index, element in enumerate(parent):
            inner = element
            while inner.tag == _tag("mrow") and len(inner) == 1:
                inner = inner[0]
            parent[index] = inner
            if inner.tag == _tag("mo") and len(inner) == 1:  # a name made an operator
                inner.text = "".join(inner.itertext())
                inner.remove(inner[0])
    for row in tree.iter(_tag("mrow")):
        _space_functions(row, display=display)
    text = "".join(tree.itertext())
    if "\\" in text:
        raise ValueError(f"no MathML for {latex!r}: {text}")
    tree.set("alttext", latex)
    return ElementTree.tostring(tree, encoding="unicode")


def _join_upright(parent: ElementTree.Element) -> None:
    r"""Make one identifier of the letters of ``\mathrm{Tr}``."""
    for left, right in reversed(list(zip(list(parent), list(parent)[1:], strict=False))):
        if _upright(left) and _upright(right):
            left.text = f"{left.text}{right.text}"
            parent.remove(right)


def _upright(element: ElementTree.Element) -> bool:
    return element.tag == _tag("mi") and element.get("mathvariant") == "normal"


def _space_functions(row: ElementTree.Element, *, display: bool) -> None:
    """Make operators of the functions in a row, alone or with a script: ``t log x``, not ``tlogx``."""
    for element, after in zip(list(row), [*list(row)[1:], None], strict=True):
        name = element[0] if element.tag in SCRIPTED else element
        if name.text in FUNCTIONS:
            follows = "" if after is None else "".join(after.itertext())
            name.tag = _tag("mo")
            name.set("lspace", "0.167em")
            name.set("rspace", "0" if follows[:1] in "([{" else "0.167em")
            if display and name.text in LIMITS and element.tag == _tag("msub"):
                element.tag = _tag("munder")


def _spell(element: ElementTree.Element) -> None:
    """Write a styled letter with the character that has this style."""
    variant = element.get("mathvariant")
    if variant == "normal" and len(element.text or "") > 1:
        del element.attrib["mathvariant"]  # a name of several letters is upright by itself
    elif variant not in (None, "normal") and element.text:
        element.text = "".join(_styled(letter, str(variant)) for letter in element.text)
        del element.attrib["mathvariant"]


def _styled(letter: str, variant: str) -> str:
    """``R`` in double-struck: ℝ. Itself where Unicode has no such letter."""
    name = re.sub("LATIN |GREEK |LETTER ", "", unicodedata.name(letter))
    for style in STYLES.get(variant, ()):
        for full in (f"MATHEMATICAL {style} {name}", f"{style} {name}"):
            with suppress(KeyError):
                return unicodedata.lookup(full)
    return letter


def prose(text: str, /) -> str:
    r"""HTML of a sentence with its formulas between dollars: ``the map $T$``."""
    parts = text.split("$")
    return "".join(
        mathml(part, display=False) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def is_prose(text: str, /) -> bool:
    """Whether a text is a sentence and no formula: it has two words in a row, or formulas between dollars."""
    plain = re.sub(r"\\(text|mathrm|operatorname)\{[^}]*\}|\\[a-zA-Z]+", " ", text)
    return "$" in text or re.search(r"[A-Za-z]{2,} +[A-Za-z]{2,}|[a-z]{4,}", plain) is not None


def formula_or_prose(text: str, /) -> str:
    """HTML of a formula, or of a sentence."""
    return f"<p>{prose(text)}</p>" if is_prose(text) else mathml(text)
