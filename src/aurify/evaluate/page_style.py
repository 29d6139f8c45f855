"""How the pages look: sober, readable from 360 pixels upwards, light and dark; no meaning hangs on colour alone."""

# Contrast (WCAG 2.2): text colours reach 4.5 to 1 and lines of charts 3 to 1 on their grounds; a test computes both.

COLOURS = """
:root {
  color-scheme: light dark;
  --ground: #fbfaf7; --raised: #ffffff; --ink: #1e1d1a; --soft: #5d5952; --line: #dcd7cc;
  --mark: #1f5f8b; --real: #2f6b3c; --plain: #6b6459; --band: #dbe8dc;
  --gold: #855f00; --promising: #1f5f8b; --bubble: #9b2c2c; --untold: #5d5952;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16171a; --raised: #1d1f23; --ink: #e9e7e2; --soft: #aaa79f; --line: #383b41;
    --mark: #7db9e8; --real: #8cc79a; --plain: #a39e94; --band: #26382b;
    --gold: #e3b341; --promising: #7db9e8; --bubble: #f08f86; --untold: #aaa79f;
  }
}
"""

STYLE = (
    COLOURS
    + """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 74rem; padding: 1.25rem clamp(1rem, 4vw, 3rem) 4rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Liberation Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1, h2, h3 {
  font-family: Charter, "Bitstream Charter", "Iowan Old Style", "Noto Serif", "Liberation Serif", Georgia, serif;
  line-height: 1.15; font-weight: 600; margin: 0;
}
h2 { font-size: 1.6rem; margin-bottom: .8rem; }
h3 { font-size: 1.15rem; }
p, ul, dl, pre, table { margin: .5rem 0; }
section > h3 { margin-top: 1.6rem; }
figure > h3 { margin-bottom: .7rem; }
li + li { margin-top: .3rem; }
p, li, dd { max-width: 44rem; }
ul { padding-left: 1.2rem; }
a { color: var(--mark); text-underline-offset: .15em; }
a:focus-visible, summary:focus-visible, button:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
section { padding: 1.8rem 0 .6rem; border-top: 1px solid var(--line); margin-top: 1.8rem; }
section:target { border-top-color: var(--ink); }
.soft { color: var(--soft); font-size: .9rem; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; background: var(--raised); padding: .5rem; }

.verdict { border: 0; margin: 0; padding: 0; --word: var(--untold); }
.gold { --word: var(--gold); } .promising { --word: var(--promising); } .bubble { --word: var(--bubble); }
.verdict h1 small {
  display: block; font: 600 .8rem/1.5 system-ui, sans-serif; letter-spacing: .06em; text-transform: uppercase;
  color: var(--soft);
}
.verdict h1 {
  color: var(--word); font-size: clamp(2.2rem, 9vw, 4.5rem); border-left: .35rem solid; padding: .1rem 0 .2rem 1rem;
}
.verdict .reasons { list-style: none; padding: 0; font-size: 1.12rem; }
.verdict .skill { margin: 1.2rem 0 1.4rem; max-width: 44rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: .5rem 3rem; }
.columns h2 { font-size: 1.15rem; margin: .8rem 0 0; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .35rem 1.2rem; font-size: .95rem; }
nav li { max-width: none; margin: 0; }

svg { display: block; width: 100%; overflow: visible; }
svg text { font: .75rem system-ui, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .halo { paint-order: stroke; stroke: var(--ground); stroke-width: 4px; stroke-linejoin: round; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .band { fill: var(--band); }
svg .made { stroke: var(--mark); fill: var(--mark); }
svg .real { stroke: var(--real); fill: var(--ground); }
svg .plain { stroke: var(--plain); fill: var(--ground); }
svg .word { stroke: var(--word); fill: var(--word); }
svg .track { stroke: var(--line); stroke-width: 10; stroke-linecap: round; }
svg line, svg path, svg circle { stroke-width: 2; vector-effect: non-scaling-stroke; }
svg polyline {
  fill: none; stroke: var(--mark); stroke-width: 1.4; vector-effect: non-scaling-stroke; stroke-linejoin: round;
}
svg polyline.held { stroke: var(--bubble); stroke-width: 2.2; stroke-dasharray: 7 4; }

.figure { margin: 1.6rem 0; padding: 1rem 0 0; border-top: 1px dotted var(--line); }
.figure header { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 0 1.5rem; }
.figure header p { margin: .1rem 0; }
.rows { display: block; font-variant-numeric: tabular-nums; margin: .6rem 0; }
.rows thead, .rows tbody { display: block; }
.rows tr {
  display: grid; grid-template-columns: minmax(8rem, 15rem) 1fr minmax(5.5rem, auto) 13rem; gap: 0 1.2rem;
  align-items: center;
}
.rows th { text-align: left; font-weight: 400; padding: 0; }
.rows td { padding: 0; }
.rows .drawn { align-self: stretch; position: relative; min-height: 1.75rem; }
.rows .drawn > svg { position: absolute; inset: 0; height: 100%; }
.legend { list-style: none; padding: 0; }
.legend li { display: flex; align-items: center; gap: .5rem; }
.legend li + li { margin: 0; }
.rows .made-row th, .rows .made-row .value { font-weight: 650; }
.rows .value { text-align: right; }
.rows thead th { font-size: .82rem; color: var(--soft); }
.rows thead th:nth-child(3) { text-align: right; }
.rows .scale-row { font-size: 0; }

.facts { display: grid; grid-template-columns: minmax(8rem, 15rem) 1fr; gap: .2rem 1.2rem; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; }
.facts .facts { margin: 0; }
.table { overflow-x: auto; }
.table table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
.table th, .table td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line); }
.table th, .table td { overflow-wrap: normal; }
.table :is(th, td):first-child { overflow-wrap: anywhere; min-width: 6rem; }
.table.sides td { white-space: nowrap; }
.table.sides th:first-child { position: sticky; left: 0; background: var(--ground); min-width: 8rem; max-width: 17rem; }
.table.sides tbody th { font-weight: 400; overflow-wrap: normal; }
.table .word { color: var(--word); font-weight: 650; }
details { margin: .4rem 0; }
summary { cursor: pointer; color: var(--soft); font-size: .92rem; width: fit-content; }
.gallery {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 1.4rem;
  align-items: start;
}
.gallery.wide { grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.gallery.sheets { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; }
figcaption { font-size: .92rem; margin: .35rem 0; }
img { display: block; max-width: 100%; height: auto; background: var(--raised); border: 1px solid var(--line); }
img.pixels { image-rendering: pixelated; }
pre {
  white-space: pre-wrap; background: var(--raised); border: 1px solid var(--line); padding: .7rem .9rem;
  font: .88rem/1.5 ui-monospace, "DejaVu Sans Mono", "Liberation Mono", monospace; max-height: 28rem; overflow-y: auto;
}
.texts {
  display: grid; gap: 1px; max-height: 28rem; overflow-y: auto; border: 1px solid var(--line); background: var(--line);
}
.texts pre { margin: 0; border: 0; max-height: none; }
.beside { display: grid; gap: 1.4rem; }
.beside .texts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); max-height: none; }
.beside .texts pre { max-height: 20rem; }
.key { width: 2.2rem; flex: none; }

@media (max-width: 46rem) {
  .rows tr { grid-template-columns: 1fr auto; padding: .35rem 0; }
  .rows thead { position: absolute; left: -200vw; }
  .rows .drawn { grid-column: 1 / -1; grid-row: 2; }
  .rows .interval { grid-column: 1 / -1; grid-row: 3; font-size: .9rem; color: var(--soft); }
  .rows .scale-row { padding: 0; }
  .rows .scale-row .band { display: none; }
  .facts { grid-template-columns: minmax(6rem, 38%) 1fr; }
  .facts dd:has(> .facts, > .table) { grid-column: 1 / -1; padding-left: .8rem; margin-bottom: .5rem; }
}
@media print { nav, summary { display: none; } pre, .texts { max-height: none; } }
"""
)
