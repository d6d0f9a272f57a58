"""Tables as LaTeX with booktabs: a fragment each to \\input into a paper, one document that shows all."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from benchmark.report.table import MISSING, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after \\ a bare bracket would be an argument
    "]": "{]}",
    MISSING: "--",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{GREEK SMALL LETTER LAMDA}": r"$\lambda$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
}
PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[margin=15mm,landscape]{geometry}
\usepackage{booktabs,graphicx}
\begin{document}"""


def escape(text: str) -> str:
    """Write a text that LaTeX prints as it is; a character that no standard font has becomes its code point.

    >>> print(escape("50 % of λ_grpo"))
    50 \\% of $\\lambda$\\_grpo
    """
    return "".join(_SPECIAL.get(character) or _ascii(character) for character in text)


def _ascii(character: str) -> str:
    if character.isspace():
        return " "
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if plain and plain.isprintable():
        return "".join(_SPECIAL.get(one, one) for one in plain)
    return f"{{[}}U+{ord(character):04X}{{]}}"


def fragment(table: Table) -> str:
    """Return a `table` environment; it needs the packages booktabs and graphicx.

    A table too wide for the page shrinks to its width.
    """
    title = escape(table.title)
    note = "\n".join(escape(line) for line in table.note.splitlines())
    if not table.records:
        return f"\\paragraph{{{title}}} {escape(table.empty)}\n"
    body = [
        r"\begin{table}[htbp]\centering\small",
        rf"\caption{{{title}}}\label{{tab:{_label(table.name)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{'l' * len(table.header())}@{{}}}}",
        r"\toprule",
        _line(table.header()),
        r"\midrule",
        *map(_line, table.lines()),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    if note:
        body.append(rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {note}}}")
    return "\n".join([*body, r"\end{table}", ""])


def document(title: str, paragraphs: Sequence[str], names: Sequence[str]) -> str:
    """Return a document that says the paragraphs and shows the fragments `tables/NAME.tex`."""
    lines = [PREAMBLE, rf"\section*{{{escape(title)}}}"]
    lines += [escape(paragraph) + "\n" for paragraph in paragraphs]
    lines += [rf"\input{{tables/{name}.tex}}" + "\n" + r"\clearpage" for name in names]
    return "\n".join([*lines, r"\end{document}", ""])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def _label(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name)
