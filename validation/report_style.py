"""The look of the report: on a phone, on a wide screen, in the dark, on paper."""

CSS = """
:root {
  color-scheme: light dark;
  --ink: light-dark(#1b1f24, #e3e6ea); --soft: light-dark(#59636e, #9aa4af);
  --page: light-dark(#fff, #14171b); --under: var(--page); --shade: light-dark(#0003, #000c);
  --box: light-dark(#f5f7f9, #1d2126); --line: light-dark(#d5dae0, #363c44);
  --link: light-dark(#0b57b0, #7db4ff);
  --good: light-dark(#14713a, #5cc98a); --bad: light-dark(#b3261e, #ff8a80);
  --dim: light-dark(#8a5a00, #e0b050); --third: light-dark(#8a5a00, #e0b050);
  --dot: light-dark(#8a8f96, #7d858e);
  --yes: light-dark(#cfe9d8, #1d4a30); --no: light-dark(#f6d5d1, #552420);
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  overflow-wrap: break-word; }
main, header, nav, footer { max-width: 84rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1.5rem 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 1rem; border-bottom: 2px solid var(--line);
  padding-bottom: .25rem; }
h3 { font-size: 1.05rem; margin: 0; }
h4 { font-size: .8rem; margin: 1rem 0 .35rem; color: var(--soft); text-transform: uppercase;
  letter-spacing: .04em; }
p { margin: .4rem 0; }
a { color: var(--link); }
.soft { color: var(--soft); font-size: .9rem; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .dim { color: var(--dim); }
.lead { font-size: 1.1rem; }
.scroll { overflow-x: auto; max-width: 100%; }
.formula { padding: .7rem .9rem; margin: .6rem 0; border-radius: .4rem; overflow-x: auto;
  --under: var(--box); }
.scroll, .formula { background:  /* a shade at each edge behind which there is more */
  linear-gradient(90deg, var(--under) 40%, transparent) left / 2rem 100% no-repeat local,
  linear-gradient(-90deg, var(--under) 40%, transparent) right / 2rem 100% no-repeat local,
  linear-gradient(90deg, var(--shade), transparent) left / .7rem 100% no-repeat scroll,
  linear-gradient(-90deg, var(--shade), transparent) right / .7rem 100% no-repeat scroll, var(--under); }
.formula p { margin: 0; }
math { font-family: "STIX Two Math", "Latin Modern Math", "Cambria Math", "Noto Sans Math",
  "DejaVu Math TeX Gyre", math; }
math[display="block"] { font-size: 1.15em; width: max-content; min-width: 100%; text-align: left;
  margin: 0; }
article { border-top: 1px solid var(--line); padding: 1.2rem 0; content-visibility: auto;
  contain-intrinsic-size: auto 60rem; }
article > .both { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0 1.5rem; }
.id { font: 600 .85rem ui-monospace, monospace; color: var(--link); text-decoration: none;
  margin-right: .4rem; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.more td { border-bottom: 1px solid var(--line); color: var(--soft); padding-top: 0; }
tr.first td { border-bottom: 0; }
details { margin: .35rem 0; border: 1px solid var(--line); border-radius: .4rem; min-width: 0; }
summary { cursor: pointer; padding: .35rem .7rem; font: .85rem ui-monospace, monospace;
  overflow-wrap: anywhere; }
.source { overflow: auto; max-height: 32rem; padding: .6rem .8rem; background: var(--box); margin: 0; }
.source pre { margin: 0; font: .78rem/1.45 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
figure { margin: .8rem 0; }
figure img { display: block; width: 100%; max-width: 40rem; height: auto; background: #fff;
  border-radius: .4rem;
  border: 1px solid var(--line); }
figcaption { font-size: .85rem; color: var(--soft); margin-top: .3rem; max-width: 40rem; }
nav ul { margin: 0; padding-left: 1rem; }
nav > details > ul { padding: .2rem 1rem .8rem 1.6rem; columns: 16rem; column-gap: 2.2rem; font-size: .9rem; }
nav li { break-inside: avoid; }
nav ul ul { list-style: none; padding-left: 0; }
.misprint { border: 1px solid var(--line); border-radius: .5rem; padding: .2rem 1rem 1rem; margin: 1rem 0; }
.misprint h3 { margin: .6rem 0 .2rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0 1rem; }
.js { display: none; } .scripted .js { display: revert; }
.panel { border: 1px solid var(--line); border-radius: .5rem; padding: .2rem .8rem .7rem; margin: .8rem 0; }
.panel h4 { text-transform: none; font-size: .95rem; color: var(--ink); margin: .5rem 0 0; }
.beside { display: grid; grid-template-columns: minmax(0, 1fr); gap: .3rem 1rem; }
.frames svg { display: block; width: 100%; max-width: 26rem; height: auto; border-radius: .3rem;
  background: var(--box); }
.frames p { font-size: .85rem; font-variant-numeric: tabular-nums; min-height: 2.6em; }
.frames path:not(.dot), .frames ellipse { fill: none; stroke-width: 1.6; }
.frames .dot { fill: none; stroke-linecap: round; } .frames text { font: 11px system-ui, sans-serif; }
.frames .a { stroke: var(--link); } .frames .b { stroke: var(--third); } .frames .g { stroke: var(--dot); }
.frames .bad, .frames.bad .a { stroke: var(--bad); } .frames .cell.a { stroke: none; fill: var(--link); }
.frames.bad .cell.a { stroke: none; fill: var(--bad); }
.frames .axis { stroke: var(--soft); stroke-width: 1; }
.frames text, .frames.bad text.a { stroke: none; fill: var(--soft); }
.frames.bad { padding: 0 .7rem .1rem; color: inherit; font-weight: inherit; }
.panel label { display: block; font-size: .85rem; }
.panel input { width: 100%; max-width: 26rem; height: 2rem; }
.panel output { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.scripted .checks output { display: block; font-size: .85rem; }
.switch input { width: 1.2rem; height: 1.2rem; vertical-align: middle; }
:is(input, summary, a, .map):focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
details.wrong { margin: .25rem 0; } details.wrong[open] { border-color: var(--bad); }
details.wrong summary { font-family: inherit; color: var(--ink); }
.verdict { padding: 0 .7rem; color: var(--ink); } .fires { color: var(--bad); }
.axis-of { position: relative; height: 1.3rem; margin: .3rem .7rem; border-radius: .2rem; max-width: 40rem;
  background: linear-gradient(90deg, var(--yes) var(--bound), var(--ink) var(--bound),
  var(--ink) calc(var(--bound) + 2px), var(--no) calc(var(--bound) + 2px)); }
.axis-of i { position: absolute; left: var(--at); top: .15rem; width: 1rem; height: 1rem; margin-left: -.5rem;
  border-radius: 50%; background: var(--good); border: 2px solid var(--page); }
.axis-of.out i { border-radius: .15rem; background: var(--bad); rotate: 45deg; }
.axis-of::before, .axis-of::after { position: absolute; bottom: .1rem; font-size: .68rem; color: var(--ink); }
.axis-of::before { content: "1e-18"; left: .3rem; } .axis-of::after { content: "1e6"; right: .3rem; }
.map { overflow: auto; max-height: 36rem; padding: .4rem .7rem; }
.map svg { display: block; width: 100%; min-width: 54rem; height: auto; }
.map text { font: 11.5px system-ui, sans-serif; fill: var(--ink); } .map a text { fill: var(--link); }
.map .e { fill: none; stroke: var(--line); stroke-width: 1.2; } .map .large { font-size: 18px; }
.block:hover .e, .block:focus-within .e { stroke: var(--link); stroke-width: 2; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; }
.s-fails { color: var(--bad); } .s-closed { color: var(--good); } .s-oracle { color: var(--link); }
.s-chance { color: var(--dim); } .s-none { color: var(--soft); }
.map text.s-fails { fill: var(--bad); } .map text.s-closed { fill: var(--good); }
.map text.s-oracle { fill: var(--link); } .map text.s-chance { fill: var(--dim); }
@media (min-width: 40rem) { .beside { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (max-width: 40rem) {
  .map thead { display: none; } .map tr, .map td { display: block; border: 0; padding: 0; }
  .map tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
  table { font-size: .78rem; } th, td { padding-right: .4rem; } th.n { white-space: normal; }
  math[display="block"] { font-size: 1.05em; }
  nav .title { display: none; } nav ul ul li { display: inline-block; margin-right: .7rem; }
}
@media (min-width: 64rem) {
  article > .both, .pair { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media print {
  article { content-visibility: visible; }
  :root { color-scheme: light; }
  body { font-size: 9.5pt; }
  main, header, nav, footer { max-width: none; padding: 0; }
  details::details-content { content-visibility: visible; block-size: auto; opacity: 1; }
  nav { display: none; }
  .source { max-height: none; overflow: visible; } .source pre { white-space: pre-wrap; font-size: 7.5pt; }
  .scroll, .formula { overflow: visible; }
  .misprint, figure, h3, tr { break-inside: avoid; } h2, h3, h4, summary { break-after: avoid; }
  article > .both { grid-template-columns: minmax(0, 1fr); }
}
"""

TOKENS = {
    "k": "light-dark(#a0228f, #e39be0)",
    "kc": "light-dark(#a0228f, #e39be0)",
    "kn": "light-dark(#a0228f, #e39be0)",
    "ow": "light-dark(#a0228f, #e39be0)",
    "nf": "light-dark(#0b57b0, #7db4ff)",
    "nb": "light-dark(#00666b, #6fd0d5)",
    "s1": "light-dark(#14713a, #8fd19e)",
    "s2": "light-dark(#14713a, #8fd19e)",
    "sa": "light-dark(#14713a, #8fd19e)",
    "sd": "light-dark(#59636e, #9aa4af)",
    "c1": "light-dark(#59636e, #9aa4af)",
    "mf": "light-dark(#9a4a00, #f0b070)",
    "mi": "light-dark(#9a4a00, #f0b070)",
}
"""Colours of Python's tokens, by the short names that Pygments gives them."""


def stylesheet() -> str:
    """Return everything between ``<style>`` and ``</style>``."""
    return CSS + "".join(f".source .{name} {{ color: {color}; }}\n" for name, color in TOKENS.items())
