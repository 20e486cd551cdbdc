"""Formulas as text: nothing is lost, and what was above or below a line is so still."""

import pytest

from refwfm.validation import ledger
from refwfm.validation.formulas import mathml
from refwfm.validation.plain_formulas import plain, plain_or_prose


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"W_2^2(\mu,\nu)", "W₂²(μ, ν)"),
        (r"\dot\Sigma_t=\dot T_tAT_t", "Σ̇ₜ = ṪₜATₜ"),
        (r"\tfrac12\|x-y\|^2", "1/2 ‖x − y‖²"),
        (r"\frac{a+b}{1-t}", "(a + b)/(1 − t)"),
        (r"\frac{-1}{1-t}", "(−1)/(1 − t)"),
        (r"A^{-1/2}B", "A^(−1/2) B"),
        (r"m_{(k+1)h}", "m₍ₖ₊₁₎ₕ"),
        (r"A_cx", "A_c x"),
        (r"\log_\mu\nu=-(T-\mathrm{id})", "log_μ ν = −(T − id)"),
        (r"\exp_\mu(v)", "exp_μ(v)"),
        (r"t\log x", "t log x"),
        (r"\sqrt{\hat v}", "√v̂"),
        (r"(a,S')", "(a, S′)"),
        (r"\|x\|_{L^2(\mu)}^2", "‖x‖_(L²(μ))²"),
        (r"\mathop{\mathrm{argmax}}_i\log P_i", "argmaxᵢ log Pᵢ"),
        (r"\min_\theta\mathbb E", "min_θ 𝔼"),
    ],
)
def test_formulas(latex, text):
    assert plain(latex) == text


@pytest.mark.parametrize("id", [item.id for item in ledger.by_id().values()])
def test_no_letter_of_the_ledger_is_lost(id):
    latex = ledger.by_id()[id].latex
    assert "\\" not in plain(latex)
    letters = [letter for letter in "θμνσπφψ" if letter in mathml(latex)]
    assert all(letter in plain(latex) for letter in letters)


def test_a_name_made_an_operator_keeps_its_letters():
    """The report lost ``argmax``, whose letters stood in a row of their own."""
    assert ">argmax<" in mathml(r"\mathop{\mathrm{argmax}}_{i'}\log P")


def test_sentences_stay_sentences():
    assert plain_or_prose("for a reference of n atoms") == "for a reference of n atoms"
    assert plain_or_prose("the map $T_t$ is meant") == "the map Tₜ is meant"
    assert plain_or_prose("T_t = (1-t) I") == "Tₜ = (1 − t)I"
    with pytest.raises(ValueError, match="no MathML"):
        plain(r"\nonsense x")
