"""The page of a causality certificate: what was audited, what was found and how far it reads, how hard it was looked for."""

from __future__ import annotations

from pathlib import Path

from candelabra.evaluation.certificate import Certificate
from candelabra.evaluation.findings import Audit, Finding
from candelabra.report import digits
from candelabra.report.markup import Cell, escape, number, table, words
from candelabra.report.page import write_plain

__all__ = ["write_certificate"]

_DRAWN = 24
_LAWS = {
    "future": "reads ahead",
    "label": "reads past known_at",
    "stale": "late",
    "stream": "differs in a stream",
    "fit": "read past its range",
    "split": "parts overlap",
    "layer": "layer reads ahead",
}
_STYLE = (
    "<style>h1{margin-top:32px}"
    ".bars{display:flex;gap:2px;align-items:flex-end;margin:6px 0 2px}.bars i{width:9px;height:16px;background:var(--line);"
    "border-radius:1px}.bars .own{height:26px;background:var(--ours)}.bars .read{background:var(--worse)}.bars b{font-weight:400;"
    "color:var(--muted);font-size:12px;margin-left:6px;align-self:center}.finding{border-left:4px solid var(--worse);padding:8px 14px;"
    "background:var(--worse-tint);margin:10px 0;border-radius:0 6px 6px 0}.finding p{margin:0}code{overflow-wrap:anywhere}</style>"
)


def write_certificate(certificate: Certificate, path: Path, title: str = "Causality audit") -> None:
    """Write the page to ``path`` (HTML, one file, no script, asks nobody for anything); whole or not at all."""
    said = certificate.summary[:1].upper() + certificate.summary[1:]
    body = f"{_STYLE}<h1>{escape(title)}</h1><p><strong>{escape(said)}.</strong></p>"
    body += f"<section><h2>Subjects</h2>{_subjects(certificate)}</section>"
    if certificate.findings:
        drawn = "".join(_finding(f) for f in certificate.findings)
        body += f"<section><h2>Findings</h2>{drawn}</section>"
    body += f"<section><h2>What was tried</h2>{_tried(certificate)}</section>"
    body += _notes(certificate)
    body += f"<section><h2>By what, on what</h2>{_facts(certificate)}</section>"
    write_plain(title, body, path)


def _subjects(certificate: Certificate) -> str:
    rows = [
        [
            words(a.subject),
            _verdict(a),
            number(digits.count(a.columns, "column"), a.columns),
            number(f"{a.rows:,}", a.rows),
            number(f"{sum(a.tried.values()):,}", sum(a.tried.values())),
        ]
        for a in certificate.audits
    ]
    return table(("Subject", "Verdict", "Outputs", "Rows", "Disturbed runs"), rows)


def _verdict(audit: Audit) -> Cell:
    if audit.findings:
        return words(digits.count(len(audit.findings), "finding"), "chip error")
    return words("nothing found", "chip holds") if audit.tried else words("not judged", "chip note")


def _finding(finding: Finding) -> str:
    kind = _LAWS[finding.law]
    by = f" Shown by: {escape(finding.way)}." if finding.way else ""
    return (
        f'<div class="finding"><p><strong>{escape(finding.words)}</strong></p>{_strip(finding)}'
        f'<p class="aside">{escape(finding.subject)}: {escape(kind)}.{by}</p></div>'
    )


def _strip(finding: Finding) -> str:
    """Bars as boxes: the row's own is tall, those it reads and must not (or that it should have read) are coloured."""
    if finding.bars is None or finding.law in ("split", "stream") or not finding.bars:
        return ""
    bars = finding.bars
    shown = min(bars, _DRAWN)
    more = f"<b>and {bars - shown:,} more</b>" if bars > shown else ""
    read = '<i class="read"></i>' * shown
    own = '<i class="own"></i>'
    label = {"stale": "newer bars it has not heard of", "fit": "bars past the end of its range"}.get(finding.law, "later bars")
    if finding.law == "stale":
        return f'<div class="bars"><i></i><i></i><i class="own"></i>{read}{more}<b>{label}</b></div>'
    rest = "" if finding.to_the_end or more else "<i></i><i></i>"
    return f'<div class="bars"><i></i><i></i>{own}{read}{more}{rest}<b>{label}</b></div>'


def _tried(certificate: Certificate) -> str:
    ways = list(dict.fromkeys(way for a in certificate.audits for way in a.tried))
    rows = [[words(way), *(number(f"{a.tried[way]:,}" if way in a.tried else "") for a in certificate.audits)] for way in ways]
    if len(certificate.audits) > 8:  # too many columns to read: sums
        rows = [[words(way), number(f"{sum(a.tried.get(way, 0) for a in certificate.audits):,}")] for way in ways]
        return table(("Change", "Runs"), rows)
    return table(("Change", *(a.subject for a in certificate.audits)), rows)


def _notes(certificate: Certificate) -> str:
    told = "".join(f"<li>{escape(a.subject)}: {escape(n)}</li>" for a in certificate.audits for n in a.notes)
    return f"<section><h2>Not judged</h2><ul class='limits'>{told}</ul></section>" if told else ""


def _facts(certificate: Certificate) -> str:
    seeds = ", ".join(sorted({str(a.seed) for a in certificate.audits}))
    rows = [("candelabra", certificate.version), ("its source (sha256)", certificate.code), ("seeds", seeds)]
    rows += [(name, version) for name, version in certificate.libraries.items()]
    rows += [(f"candles {name} (sha256)", mark) for name, mark in certificate.data.items()]
    rows += [(f"code of {a.subject} (sha256)", a.code) for a in certificate.audits if a.code]
    return table(("What", "Value"), [[words(k), Cell(v, "code")] for k, v in rows])
