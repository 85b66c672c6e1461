"""How the page looks."""

STYLE = """\
:root { color-scheme: light; --line: #ddd; --soft: #666; --good: #2a7d2a; --bad: #b3261e; --wait: #8a6d00; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; font-weight: normal; margin: 0; padding: .4rem .8rem; background: #f6f6f6; }
.task { font-size: 1.1rem; margin-top: .2rem; white-space: pre-wrap; }
.facts { display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: 1rem 0; }
.facts dt { color: var(--soft); font-size: .8rem; }
.facts dd { margin: 0; }
blockquote { border-left: 4px solid var(--good); margin: 1rem 0; padding: .2rem 1rem; white-space: pre-wrap; }
.stopped { border-left: 4px solid var(--bad); padding: .2rem 1rem; }
.steps { padding-left: 2rem; }
.steps li { margin: .6rem 0; }
.steps p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.steps .said { font-style: italic; }
.steps small, time { color: var(--soft); }
.steps .ok .result { color: var(--good); }
.steps .failed .result { color: var(--bad); }
.steps .waiting .result { color: var(--wait); }
.cell { border: 1px solid var(--line); border-radius: 6px; margin: 1rem 0; overflow: hidden; }
.cell em { font-style: normal; color: var(--good); }
.cell.removed em, .cell.removed .source { color: var(--bad); }
.cell.changed em { color: var(--wait); }
.cell time { float: right; }
.cell img { display: block; max-width: 100%; padding: .5rem .8rem; box-sizing: border-box; }
pre { margin: 0; padding: .6rem .8rem; font: 13px/1.45 ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
pre.stdout, pre.result { border-top: 1px solid var(--line); }
pre.stderr { border-top: 1px solid var(--line); background: #fff8e6; }
pre.error { border-top: 1px solid var(--line); background: #fdecea; }
"""
