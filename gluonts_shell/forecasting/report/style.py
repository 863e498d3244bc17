"""How the page looks: light and dark as the reader's system has it, one column on a phone.

The charts are coloured by the same variables, through the colours that stand for them in `charts`.
"""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;--page:#fbfbfc;--card:#fff;--ink:#1b1f24;--soft:#5b6470;--line:#dfe3e8;
--model:#1f5fbf;--naive:#b3541e;--good:#1a7f37;--bad:#b42318;--note:#fff6dc}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--card:#1d2126;--ink:#e8eaed;--soft:#a3acb8;--line:#363c44;
--model:#7db0ff;--naive:#f0a06b;--good:#5fd17a;--bad:#ff8a80;--note:#3a3115}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
main,header,footer{max-width:76rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.5rem}
h1{font-size:1.6rem;line-height:1.25;margin:0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
h3{font-size:1rem;margin:0 0 .3rem}table+h3,div+h3{margin-top:1.4rem}
p{margin:.4rem 0;max-width:48rem}
.soft,figcaption,small{color:var(--soft)}
.verdict{background:var(--card);border:1px solid var(--line);border-left:.4rem solid var(--soft);
border-radius:.4rem;padding:1rem 1.2rem;margin:1.2rem 0}
.verdict strong{display:block;font-size:1.7rem;line-height:1.25}
.verdict.better{border-left-color:var(--good)}.verdict.worse{border-left-color:var(--bad)}
.better strong,td .better{color:var(--good)}.worse strong,td .worse{color:var(--bad)}
.note{background:var(--note);border-radius:.4rem;padding:.6rem 1rem;margin:.8rem 0;max-width:none}
.note ul{margin:.2rem 0;padding-left:1.2rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:1rem;align-items:start}
.card{background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.8rem 1rem;margin:0;min-width:0}
.card svg{display:block;width:100%;max-width:32rem;height:auto;margin:.3rem 0}
.card p{font-size:.9rem}
svg *{stroke-linejoin:round;stroke-linecap:butt}
svg text{font-family:inherit}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;margin:.3rem 0}
th,td{padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{text-align:left;font-weight:500;white-space:nowrap}.scores th,.all th{white-space:normal}
thead th{color:var(--soft);font-weight:400;white-space:nowrap}
td,thead th:not(:first-child){text-align:right;white-space:nowrap}
.facts td,.facts thead th:not(:first-child){text-align:left;white-space:normal;overflow-wrap:anywhere}
.facts th{color:var(--soft);font-weight:400;white-space:nowrap}
th small{display:block;font-weight:400}.scores small{min-width:9rem}
pre{background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.7rem 1rem;font-size:.85rem;
white-space:pre-wrap;overflow-wrap:anywhere;margin:.4rem 0}
details{margin:.4rem 0}summary{cursor:pointer;color:var(--soft);font-size:.9rem}
.key{font-size:.85rem;color:var(--soft);margin:.2rem 0}
.key span{display:inline-block;margin-right:.8rem}
.key i{display:inline-block;width:1.3rem;height:.2rem;margin-right:.35rem;vertical-align:middle}
.key .actual{background:var(--ink)}.key .model{background:var(--model)}
.key .naive{height:0;border-top:.15rem dashed var(--naive)}.key .band{height:.7rem;background:var(--model);opacity:.3}
.key .ideal{height:0;border-top:.15rem dashed var(--soft)}
footer{padding-top:1.5rem;padding-bottom:2rem;color:var(--soft);font-size:.85rem}
@media (max-width:40rem){th,td{padding-right:.5rem}.verdict strong{font-size:1.4rem}table{font-size:.82rem}
.scores thead th:not(:first-child),.scores td{white-space:normal;overflow-wrap:normal}.scores small{min-width:6rem}}
"""
