#include "reports/html/page.hpp"

namespace squall {

// Colours after Okabe and Ito, whose eight are told apart with any colour vision; nothing is said by colour
// alone.
const std::string_view page_style = R"css(
:root { color-scheme: light dark;
  --ground: #f3f5f8; --paper: #fff; --ink: #18202b; --muted: #566173; --line: #dde2e9; --soft: #f3f5f8;
  --good: #00704f; --bad: #b4261a; --open: #805600; --stop: #6a3d9a;
  --good-soft: #e2f3ec; --bad-soft: #fbe9e6; --open-soft: #fcf1d9; --stop-soft: #f0e8f8;
  --latency: #0068a5; --latency-soft: #0072b233; --fault: #f0b429; --fault-ink: #2b1d00; --failed: #d04a00;
  --pending: #c9a6dc; --firing: #9b2f7f; --window-fault: #e69f0018; --window-side: transparent; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #0d1218; --paper: #151c25; --ink: #e7ecf2; --muted: #9eabbb; --line: #2a3542; --soft: #1c2530;
  --good: #4fcf9f; --bad: #ff8e7f; --open: #f2bd4b; --stop: #c7a4ec;
  --good-soft: #10302a; --bad-soft: #3a1d1b; --open-soft: #362a10; --stop-soft: #2c2140;
  --latency: #6cc0f2; --latency-soft: #56b4e936; --fault: #dfa21b; --fault-ink: #1d1400; --failed: #ff8a4c;
  --pending: #5f4a73; --firing: #e08ac8; --window-fault: #e69f0014; --window-side: transparent; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; }
main, header > div, footer { max-width: 1160px; margin: 0 auto; padding: 0 20px; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 0 0 12px; letter-spacing: -.005em; }
h3 { font-size: 1rem; margin: 0; }
p { margin: 0 0 10px; max-width: 75ch; }
code, pre { font: .86em/1.5 ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { overflow-x: auto; margin: 8px 0 0; padding: 12px 14px; background: var(--soft); border-radius: 8px; }
header { background: var(--paper); border-bottom: 1px solid var(--line); padding: 26px 0 22px; border-top: 6px solid var(--tone); }
.pass { --tone: var(--good); --tone-soft: var(--good-soft); } .fail, .error { --tone: var(--bad); --tone-soft: var(--bad-soft); }
.inconclusive { --tone: var(--open); --tone-soft: var(--open-soft); } .halted { --tone: var(--stop); --tone-soft: var(--stop-soft); }
.crumb { color: var(--muted); font-size: .875rem; margin: 0 0 6px; }
.verdict { display: flex; gap: 14px; align-items: center; margin: 18px 0 0; padding: 14px 18px; border-radius: 10px; background: var(--tone-soft); border: 1px solid var(--tone); }
.verdict svg { flex: none; width: 38px; height: 38px; color: var(--tone); }
.verdict strong { display: block; color: var(--tone); font-size: 1.3rem; line-height: 1.2; letter-spacing: .01em; }
.verdict p { margin: 2px 0 0; }
.verdict + .verdict { margin-top: 10px; }
.reasons { margin: 12px 0 0; padding-left: 22px; } .reasons li { margin: 2px 0; }
blockquote { margin: 14px 0 0; padding: 2px 0 2px 14px; border-left: 3px solid var(--line); color: var(--muted); max-width: 75ch; }
blockquote b { color: var(--ink); font-weight: 600; }
dl.facts { display: flex; flex-wrap: wrap; gap: 8px 30px; margin: 18px 0 0; }
dl.facts dt { font-size: .78rem; color: var(--muted); } dl.facts dd { margin: 0; font-weight: 500; overflow-wrap: anywhere; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 20px 22px; margin: 18px 0; }
.glance { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin: 18px 0; padding: 0; border: 0; background: none; }
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; min-width: 0; }
.tile h2 { font-size: .8rem; font-weight: 500; color: var(--muted); margin: 0; letter-spacing: 0; } .tile b { display: block; font-size: 1.45rem; line-height: 1.3; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
.tile span { font-size: .86rem; color: var(--muted); overflow-wrap: anywhere; }
.tile.good b { color: var(--good); } .tile.bad b { color: var(--bad); } .tile.open b { color: var(--open); }
.scroll { overflow-x: auto; background: linear-gradient(to right, var(--paper) 30%, transparent) 0 0 / 40px 100% no-repeat local, linear-gradient(to left, var(--paper) 30%, transparent) 100% 0 / 40px 100% no-repeat local,
  linear-gradient(to right, #0003, transparent) 0 0 / 12px 100% no-repeat scroll, linear-gradient(to left, #0003, transparent) 100% 0 / 12px 100% no-repeat scroll; }
.hint { display: none; color: var(--muted); font-size: .84rem; margin: 0 0 4px; }
.scroll:focus-visible, summary:focus-visible, svg:focus-visible { outline: 2px solid var(--latency); outline-offset: 2px; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } caption { text-align: left; color: var(--muted); font-size: .85rem; padding-bottom: 6px; }
th { text-align: left; font-weight: 600; vertical-align: top; } thead th { font-size: .8rem; color: var(--muted); font-weight: 500; border-bottom: 1px solid var(--line); }
th, td { padding: 8px 14px 8px 0; } td { vertical-align: top; } tbody tr + tr > * { border-top: 1px solid var(--line); }
td.number, th.number { text-align: right; white-space: nowrap; } td small, th small { color: var(--muted); font-weight: 400; }
tbody.group tr:first-child > * { border-top: 1px solid var(--line); } tbody.group tr + tr > td { border-top-color: transparent; } tbody.group th[rowspan] { border-top: 1px solid var(--line); }
.mark { display: inline-flex; gap: 6px; align-items: center; font-weight: 600; white-space: nowrap; } .mark svg { width: 16px; height: 16px; flex: none; }
.mark.good { color: var(--good); } .mark.bad { color: var(--bad); } .mark.open { color: var(--open); } .mark.plain { color: var(--muted); font-weight: 500; }
.fault { padding: 14px 0 4px; } .fault + .fault { border-top: 1px solid var(--line); margin-top: 12px; }
.fault-head { display: flex; flex-wrap: wrap; gap: 4px 14px; align-items: baseline; justify-content: space-between; margin-bottom: 4px; }
.fault table { max-width: 640px; margin: 8px 0; } ul.notes { color: var(--muted); font-size: .88rem; margin: 6px 0; padding-left: 20px; } ul.plain { padding-left: 20px; margin: 8px 0; }
.muted { color: var(--muted); } .small-text { font-size: .88rem; }
details { margin: 10px 0 0; } summary { cursor: pointer; color: var(--latency); width: fit-content; } details > .scroll { margin-top: 10px; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; list-style: none; margin: 12px 0 0; padding: 0; font-size: .84rem; color: var(--muted); }
.legend li { display: flex; gap: 7px; align-items: center; } .legend svg { width: 22px; height: 12px; flex: none; }
figure { margin: 0; position: relative; } figure svg#timeline { display: block; width: 100%; min-width: 760px; height: auto; }
#readout { position: absolute; top: 8px; pointer-events: none; background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 8px 11px; font-size: .82rem; line-height: 1.45; box-shadow: 0 4px 16px #0003; max-width: 320px; }
#readout b { display: block; } #readout[hidden] { display: none; }
footer { color: var(--muted); font-size: .85rem; padding-bottom: 40px; }
#timeline text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; fill: var(--ink); }
#timeline .name { font-weight: 600; font-size: 13px; } #timeline .small, #timeline .tick, #timeline .band { fill: var(--muted); font-size: 11.5px; } #timeline .band { font-size: 12px; }
.window { fill: var(--window-side); } .window.fault { fill: var(--window-fault); } .gap { fill: var(--muted); opacity: .28; } .grid { stroke: var(--line); stroke-width: 1; } .axis { stroke: var(--muted); } .rail { stroke: var(--line); stroke-width: 2; }
.fault-bar { fill: var(--fault); } .fault-bar.unproven { fill: none; stroke: var(--fault); stroke-width: 1.5; stroke-dasharray: 5 3; } #timeline .on-fault { fill: var(--fault-ink); font-weight: 500; } #timeline .unproven + .on-fault { fill: var(--ink); }
.went { fill: var(--failed); stroke: var(--paper); } .came-back { fill: var(--good); stroke: var(--paper); }
.spread { fill: var(--latency-soft); } .median { fill: none; stroke: var(--latency); stroke-width: 1.8; stroke-linejoin: round; } .bound { stroke: var(--ink); stroke-dasharray: 2 4; opacity: .65; } .failed { fill: var(--failed); }
.back { stroke: var(--good); stroke-width: 1.5; stroke-dasharray: 5 3; } #timeline .back-text { fill: var(--good); font-weight: 500; }
.hatch-back { fill: var(--pending); opacity: .45; } .hatch-line { stroke: var(--firing); stroke-width: 1.6; opacity: .7; } .pending { fill: url(#hatch); } .firing { fill: var(--firing); }
.told { fill: var(--ink); stroke: var(--paper); } .told-resolved { fill: var(--paper); stroke: var(--ink); } .deadline { stroke: var(--ink); stroke-width: 2; } .cursor { stroke: var(--muted); }
@media (max-width: 640px) { body { font-size: 15px; } h1 { font-size: 1.4rem; } main, header > div, footer { padding: 0 14px; } section { padding: 16px 14px; } .glance { grid-template-columns: 1fr 1fr; gap: 10px; } .tile { padding: 11px 12px; } .tile b { font-size: 1.15rem; } .hint { display: block; }
  table.stack thead { position: absolute; clip-path: inset(50%); } table.stack tr { display: block; padding: 8px 0; } table.stack tbody tr + tr { border-top: 1px solid var(--line); } table.stack td, table.stack th { display: block; padding: 2px 0; border: 0; } table.stack tbody tr + tr > * { border: 0; } }
@media print { body { background: none; font-size: 11pt; } section, .tile { break-inside: avoid; border-color: #bbb; } header { border-bottom: 0; } #readout { display: none; } figure svg#timeline { min-width: 0; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)css";

}  // namespace squall
