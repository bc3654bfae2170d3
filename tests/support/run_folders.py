"""Run folders made of manifests and shard records alone, as stages write them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from gristmill.files.storage import FileEntry, write_atomic
from gristmill.ledger import Books
from gristmill.manifest import Manifest, TaskRecord, put_manifest, put_record, record_path
from gristmill.pipeline.run.records.tallies import LENGTH_BINS

NASTY = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"></svg> \x1b[31mred\x1b[0m \u202egnirts desrever\u202c "
    '=HYPERLINK("http://evil.example") '
    "{{7*7}} <!-- --> ]]> \u2028 \x00 javascript:alert(1)"
)
# Each is alone in its place, so that it meets the page as a whole value of an attribute, a cell, a script's
# text.
ATTACKS = (
    NASTY,
    "</script><script>document.title='owned'</script>",
    "</style><style>*{display:none}</style>",
    "</title><script>document.title='owned'</script>",
    "'\" onmouseover=document.title='owned' autofocus onfocus=document.title='owned' x='",
    "<svg><animate onbegin=document.title='owned' attributeName=x dur=1s>",
    "<svg><script>document.title='owned'</script></svg><math><mi//xlink:href='data:x,<script>document.title=1</script>'>",
    (
        "<iframe srcdoc='<script>top.document.title=1</script>'></iframe><object"
        " data='http://127.0.0.1:9/'></object>"
    ),
    (
        "<link rel=stylesheet href=http://127.0.0.1:9/x.css><meta http-equiv=refresh"
        " content='0;url=http://127.0.0.1:9/'>"
    ),
    (
        "<base href=http://127.0.0.1:9/><form action=http://127.0.0.1:9/><input autofocus"
        " onfocus=document.title=1></form>"
    ),
    "<!--<script>",
    "]]><![CDATA[<script>document.title=1</script>",
    "&lt;script&gt;document.title=1&lt;/script&gt;&#60;img src=x onerror=document.title=1&#62;",
    "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\x85\x7f",
    "\u202egnirts\u2066\u2069\u200f\u061c",
    "=cmd|'/c calc'!A0",
    "@SUM(1+1)*cmd|'/c calc'!A0",
    "javascript:document.title='owned'",
    "a" * 3000,
    "__proto__",
    "constructor",
)
RULES = ("gopher.words", "c4-code.sentences")


def books(kept: int, removed: int, failed: int, mean: int = 1000) -> Books:
    """Books of a text stage that removed by two rules in turn."""
    total = kept + removed + failed
    made = Books(total, total * mean)
    made.items_out.update(kept=kept, removed=removed, failed=failed)
    made.bytes_out.update(kept=kept * mean, removed=removed * mean, failed=failed * mean)
    made.by_rule_first.update({RULES[0]: removed - removed // 3, RULES[1]: removed // 3})
    made.by_rule_any.update({RULES[0]: removed, RULES[1]: removed // 3})
    made.by_error.update({"timeout": failed} if failed else {})
    return made


def sample(number: int, **more: Any) -> dict[str, Any]:
    return {
        "hash": (number * 2654435761) % (1 << 63),
        "id": f"{number:032x}",
        "url": f"http://site-{number % 7}.example/{number}",
        "text": f"Document number {number}. " * 12,
        **more,
    }


def record(phase: str, number: int, made: Books, source: str, text: str | None = None) -> TaskRecord:
    """A record with everything that reports draw; `text` goes wherever text from the web can go."""
    kept, removed, failed = (made.items_out[outlet] for outlet in ("kept", "removed", "failed"))
    task = f"{number:05d}"
    found = TaskRecord(phase, task, books=made)
    found.files = [
        FileEntry("documents", f"data/documents-{phase}-{task}-{'0' * 12}.parquet", "0" * 64, 1, kept, source)
    ]
    lengths = [0] * len(LENGTH_BINS)
    lengths[6] = kept
    gone = [0] * len(LENGTH_BINS)
    gone[3] = removed
    found.histograms["length_bytes"] = {"bins": LENGTH_BINS, "kept": lengths, "removed": gone}
    first = number * 100
    for rule in RULES:
        found.histograms[f"rule:{rule}"] = {
            "bins": [0.0, 10.0, 50.0, 100.0],
            "cuts": [50.0],
            "kept": [0, 0, 0, kept - kept // 2, kept // 2],
            "removed": [0, removed, 0, 0, 0],
        }
        found.samples[f"near:{rule}:kept"] = [
            sample(first + 1, rule=rule, value=51.0, bound=50.0, distance=1.0)
        ]
        found.samples[f"near:{rule}:removed"] = [
            sample(first + 2, rule=rule, value=49.0, bound=50.0, distance=1.0)
        ]
        found.samples[rule] = [sample(first + n, rule=rule, value=7.0, bound=50.0) for n in range(10, 14)]
    found.samples["kept"] = [sample(first + n) for n in range(8)]
    if failed:
        origin = {"file": "crawl.warc.gz", "offset": 4096, "length": 99}
        found.samples["failed"] = [
            sample(first + 90, error="timeout", message="took 30 s", origin=origin, text=None)
        ]
    names = Counter({f"site-{n}.example": (kept * (n + 1)) // 28 for n in range(7)})
    found.extra["tallies"] = {
        "kept.domain": dict(names),
        "kept.language": {"en": kept - kept // 4, "de": kept // 4},
        "kept.year": {"2023": kept // 2, "2024": kept - kept // 2},
    }
    if text is not None:
        found.samples["kept"][0] |= {"text": text, "url": f"http://x/{text}"}
        found.samples[RULES[0]][0] |= {"text": text, "url": text}
        found.extra["tallies"]["kept.domain"][text] = kept
        found.extra["tallies"]["kept.language"][text] = 1
        found.books.by_error[text] = found.books.by_error.pop("timeout", 0)
        found.samples["failed"] = [
            sample(7, error=text, message=text, url=text, origin={"file": text, "offset": 1, "length": 2})
        ]
    found.timing = {
        "seconds": 2.0 + (30.0 if number == 1 else 0.0),
        "peak_bytes": 3e8,
        "ended": 1.7e9 + number,
    }
    return found


def _fatten(one: TaskRecord, number: int, num_rules: int) -> None:
    """Give a record as many rules, samples and domains as one of a real crawl has."""
    for rule in range(num_rules):
        name = f"many.rule_{rule}"
        one.histograms[f"rule:{name}"] = {
            "bins": [step / 20 for step in range(21)],
            "cuts": [0.5],
            "kept": [9] * 22,
            "removed": [1] * 22,
        }
        one.samples[name] = [sample(number * 100 + n, rule=name, text="word " * 240) for n in range(8)]
        for side in ("kept", "removed"):
            near = [
                sample(
                    number * 100 + n, rule=name, value=0.5, bound=0.5, distance=n / 1e3, text="word " * 100
                )
                for n in range(4)
            ]
            one.samples[f"near:{name}:{side}"] = near
    one.extra["tallies"]["kept.domain"] = {f"site-{number * 7 + n}.example": 10 for n in range(300)}


def write_step(
    out: Path, name: str, stage: str, records: list[TaskRecord], *, finished: bool = True, extra: Any = None
) -> str:
    folder = out / "steps" / f"{name.replace('/', '-')}-{'ab' * 6}"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for one in records:
        put_record(folder, one)
    if finished:
        entries = []
        for one in records:
            path = record_path(folder, one.phase, one.task)
            entries.append(
                {
                    "phase": one.phase,
                    "task": one.task,
                    "path": path.relative_to(folder).as_posix(),
                    "sha256": "0" * 64,
                }
            )
        ingredients = {
            "stage": stage,
            "version": 1,
            "seed": 1,
            "settings": {},
            "inputs": {},
            "libraries": {"pyarrow": "25"},
        }
        total = Books.total(one.books for one in records if one.books)
        files = [entry for one in records for entry in one.files]
        put_manifest(
            Manifest(
                folder, name, "ab" * 32, ingredients, files, entries, total, extra or {}, {"seconds": 12.5}
            )
        )
    return folder.relative_to(out).as_posix()


def write_run_file(
    out: Path, steps: dict[str, str], plan: list[str], *, complete: bool = True, **more: Any
) -> None:
    data = {
        "format": 1,
        "gristmill": "0.1.0",
        "recipe_name": "made",
        "complete": complete,
        "steps": [{"name": name, "folder": folder, "identity": "ab" * 32} for name, folder in steps.items()],
        "previous": [],
        "plan": plan,
        "recipe": {"name": "made", "sources": {"web": {"inputs": ["web.warc.gz"]}}},
        **more,
    }
    write_atomic(out / "run.json", json.dumps(data).encode())


def write_run(
    out: Path, *, num_shards: int = 3, per_shard: int = 100, text: str | None = None, num_rules: int = 0
) -> Path:
    """A complete run: extraction, a filter, near dedup; every shard alike."""
    failed = per_shard // 20
    extracted = per_shard - failed
    kept = extracted * 2 // 3
    steps = {}
    extraction = []
    for number in range(num_shards):
        own = books(extracted, 0, failed)
        own.created_bytes = extracted * 900
        extraction.append(record("extract", number, own, "web", text))
    filtering = [
        record("filter", number, books(kept, extracted - kept, 0, 900), "web") for number in range(num_shards)
    ]
    for number, one in enumerate(filtering[:] if num_rules else []):
        _fatten(one, number, num_rules)
    steps["extract/web"] = write_step(out, "extract/web", "extract", extraction)
    steps["filter/web"] = write_step(out, "filter/web", "filter", filtering)
    write_run_file(out, steps, list(steps))
    return out


def write_hostile_run(out: Path, text: str) -> Path:
    """A run of all stages that carries `text` wherever a text of the web, or a name somebody gave, can stand
    in a record."""
    write_run(out, text=text)
    run = json.loads((out / "run.json").read_text())
    steps = {entry["name"]: entry["folder"] for entry in run["steps"]}
    fuzzy = record("apply", 0, books(50, 10, 0), "web", text)
    members = [
        {
            "id": f"{n:032x}",
            "url": text,
            "removed": n > 0,
            "jaccard": 0.9 if n else None,
            "text": f"{text} {n}",
        }
        for n in range(3)
    ]
    fuzzy.extra["clusters"] = [{"cluster_id": "0" * 32, "hash": 1, "size": 3, "members": members}]
    fuzzy.histograms["cluster_size"] = {"bins": [2, 3, 4], "clusters": [1, 1, 0]}
    fuzzy.histograms["jaccard"] = {"bins": [0.0, 0.5, 1.0], "removed": [0, 10], "cuts": [0.5]}
    scored = record("keep", 0, books(40, 10, 0), text, text)
    scored.histograms["classify.score"] = {"bins": [0.0, 0.5, 1.0], "kept": [1, 39], "removed": [9, 1]}
    row = {
        "name": text,
        "source": text,
        "tokens": 300,
        "bytes": 950,
        "docs": 3,
        "epochs": 1.25,
        "weight": 0.5,
        "proportion": 1.0,
    }
    bits = {
        "source": text,
        "docs": 3,
        "words": 30,
        "bytes": 99,
        "bits": 300.0,
        "bits_per_byte": 3.1,
        "perplexity": 8.0,
    }
    ngram = {"ngram": text, "score": 1.0, "passages": 3}
    report = {
        "f1": 0.9,
        "heldout": {"positives": 3, "negatives": 3},
        "histograms": {text: [1, 2], "web": [2, 1]},
        "calibration": [{"score": 0.2, "curated": 0.1}],
        "ngrams": {"top": [ngram], "bottom": [ngram]},
        "deciles": [{"decile": 1, "samples": [{"id": "0" * 32, "score": 0.1, "source": text, "text": text}]}],
    }
    sizes = {"documents": 3, "bytes": 900, "tokens": 300}
    made: dict[str, tuple[str, list[TaskRecord], dict[str, Any]]] = {
        "dedup-fuzzy": ("dedup-fuzzy", [fuzzy], {"clusters": 2, "compared": 20}),
        "classify-train": ("classify-train", [], {"report": report}),
        "classify-score/web": ("classify-score", [scored], {"rule": text}),
        "ngram-heldout": ("ngram-heldout", [], {"heldout": [bits]}),
        "tokenizer": (
            "tokenizer",
            [],
            {"vocab": 512, "sha256": text, "sampled_bytes": {text: 900}, "longest": [text], "unused": 3},
        ),
        f"encode/{text}": ("encode", [], sizes),
        "mix": ("mix", [], {"table": [row], "planned": [row], "heldout": [row], "tokens": 300}),
    }
    evaluated = {**bits, "loss": 3.0}
    training = {
        "device": text,
        "dtype": text,
        "parameters": 9,
        "samples": [{"prompt": text, "text": text, "temperature": 0.7}],
    }
    made["train"] = (
        "train",
        [],
        {**training, "evaluations": {"after": [evaluated, {**evaluated, "source": "all"}]}},
    )
    for number, (name, (stage, records, extra)) in enumerate(made.items()):
        folder = f"{stage}-{number}"
        steps[name] = write_step(out, folder, stage, records, extra=extra)
    log = out / steps["train"] / "train" / "run" / "log.jsonl"
    log.parent.mkdir(parents=True)
    step = {
        "event": "step",
        "step": 1,
        "tokens": 9,
        "loss": 3.0,
        "grad_norm": 1.0,
        "lr": 0.1,
        "tokens_per_s": 9.0,
    }
    log.write_text(
        "".join(
            json.dumps(line) + "\n"
            for line in (step, {**step, "step": 2}, {"event": "eval", "step": 2, **evaluated})
        )
    )
    lost = out / "steps" / f"verify-{'ab' * 6}" / "quarantine"
    lost.mkdir(parents=True)
    (lost / "verify-00001.txt").write_text(f"Traceback\nValueError: {text}\n")
    holder = {"name": text, "sources": {text: {"inputs": [text]}}, "note": text}
    write_run_file(
        out, steps, [*steps, "verify", text], complete=False, recipe_name=text, gristmill=text, recipe=holder
    )
    return out
