"""The report: one HTML file that needs nothing else, from the shard records of one run."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gristmill.files.inside import inert
from gristmill.files.storage import write_atomic
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.reading import RunView, Summed, read_view, written
from gristmill.pipeline.report.charts.markup import Html, PageSection, tag
from gristmill.pipeline.report.sections.by_source import source_section
from gristmill.pipeline.report.sections.closing import asking_section, failures_section, provenance_section
from gristmill.pipeline.report.sections.corpus import corpus_section
from gristmill.pipeline.report.sections.measured import correlations_section, token_lengths
from gristmill.pipeline.report.sections.overview import funnel_section, hero, rules_section
from gristmill.pipeline.report.sections.samples import collect_samples, in_script, samples_section
from gristmill.pipeline.report.sections.signals import signals_section
from gristmill.pipeline.report.sections.stages import stages_section
from gristmill.pipeline.run.stage import kinds, resolve

REPORT = "report.html"
_HERE = Path(__file__).parent


def write_report(out: Path, to: Path | None = None, known: dict[Path, Summed] | None = None) -> Path:
    """Write the report of a run, finished or not; a reader of the old one never sees half of the new.

    Raises UsageError when `out` was not written by gristmill.
    """
    target = to or out / REPORT
    write_atomic(target, render(read_view(out, known)).encode())
    return target


def render(view: RunView) -> str:
    """Draw the page of a run."""
    funnel = build_funnel(view)
    samples = collect_samples(view)
    made: list[PageSection | None] = []
    if funnel.levels:
        made += [
            funnel_section(funnel),
            rules_section(funnel),
            signals_section(funnel),
            correlations_section(view),
            corpus_section(funnel, token_lengths(view)),
            source_section(funnel),
        ]
    made += [resolve(section)(view) for section in stage_sections(view)]
    made.append(samples_section(view, samples))
    made += [failures_section(funnel, view) if funnel.levels else None, stages_section(view)]
    made += [asking_section(view, funnel), provenance_section(view)]
    data = {"samples": samples, "why": f"gristmill why {shlex.quote(inert(str(view.out)))}"}
    return page(
        f"{view.name} · gristmill",
        hero(view, funnel, written()),
        [section for section in made if section],
        data,
    )


def stage_sections(view: RunView) -> list[str]:
    """The sections that the stages of a run declare, each once, where the last stage that has it stands."""
    there = {step.stage for step in view.steps}
    named = [name for kind in kinds().values() if kind.name in there for name in kind.report]
    return list(dict.fromkeys(reversed(named)))[::-1]


def page(title: str, head: Html, sections: Sequence[PageSection], data: Mapping[str, Any]) -> str:
    """Put a page together: its policy lets nothing in but the one style and the one script it carries."""
    style, script = ((_HERE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    sources = f"style-src {_digest(style)}; script-src {_digest(script)}; img-src data:"
    policy = f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
    links = [tag("a", section.short or section.title, href=f"#{section.key}") for section in sections]
    body = [
        tag(
            "nav",
            tag("div", *links),
            tag("button", "◐", type="button", id="theme", aria_label="light or dark"),
            aria_label="sections",
        ),
        tag("main", head, *(_section(section) for section in sections), class_="page"),
        tag("script", Html(in_script(data)), type="application/json", id="data"),
        tag("script", Html(script)),
    ]
    metas = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content="gristmill"),
        tag("link", rel="icon", href="data:,"),
    ]
    html = tag(
        "html",
        tag("head", *metas, tag("title", title), tag("style", Html(style))),
        tag("body", *body),
        lang="en",
    )
    return f"<!doctype html>\n{html}\n"


def _section(section: PageSection) -> Html:
    lead = tag("p", section.lead, class_="lead") if section.lead else ""
    return tag("section", tag("h2", section.title), lead, section.body, id=section.key)


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
