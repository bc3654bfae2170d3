"""What the tokenizer makes of each source, told beside the encoding: nothing that is encoded waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.arrays import read_array, write_array
from gristmill.facts import Facts, StepFacts
from gristmill.hashing import canonical_json
from gristmill.pipeline.phases.encode import tokenizer_facts
from gristmill.pipeline.phases.shuffle import files, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.stages.tokenizer import TokenizerReportSlice
from gristmill.tokenize.encoding.encoder import encoder_of
from gristmill.tokenize.encoding.tokenizers import open_tokenizer, resolved
from gristmill.tokenize.settings import TokenizerSettings
from gristmill.tokenize.training.compression import compress, tokenizer_report


@dataclass(frozen=True, slots=True)
class Compressed(Facts):
    """Bytes and tokens of a source's first texts."""

    compressed: dict[str, Any]


def report(job: Job[TokenizerReportSlice]) -> Stage:
    piece = job.settings
    (tokenizer,) = job.paths("tokenizer")
    opened = resolved(piece.tokenizer, tokenizer_facts(job).as_json())
    common = {"tokenizer": str(tokenizer), "opened": opened}
    texts = {name: [str(path) for path in job.paths("documents", name)] for name in piece.sources}
    compressed = yield Phase(
        "compress",
        [Task(f"{number:05d}", compress_source, {"paths": own}) for number, own in enumerate(texts.values())],
        {**common, "num_sources": len(texts)},
    )
    by_source = {
        name: record.stated(Compressed).compressed for name, record in zip(texts, compressed, strict=True)
    }
    told = {"by_source": by_source, "used": files(job, compressed, "used")}
    yield Phase("report", [Task("report", report_on, {**common, **told})])
    return StepFacts(replaced_files=passed_on(job, compressed))


def compress_source(
    task: Attempt[TokenizerReportSlice],
    paths: Sequence[str],
    tokenizer: str,
    opened: TokenizerSettings,
    num_sources: int,
) -> None:
    """Count what the tokenizer makes of a source's first texts; the encoder is the one that encodes later."""
    encoder = encoder_of(Path(tokenizer), opened)
    counted, used = compress(encoder, [Path(path) for path in paths], num_sources)
    task.record.state(Compressed(counted))
    path = task.scratch / "used.i64"
    write_array(path, used.astype("<i8"))
    task.publish(path, "used")


def report_on(
    task: Attempt[TokenizerReportSlice],
    by_source: Mapping[str, Mapping[str, Any]],
    used: Sequence[str],
    tokenizer: str,
    opened: TokenizerSettings,
) -> None:
    report = task.scratch / "report.json"
    total: Any = sum(read_array(path, "<i8") for path in used)
    counted = tokenizer_report(open_tokenizer(Path(tokenizer), opened), by_source, np.asarray(total))
    report.write_bytes(canonical_json(counted) + b"\n")
    task.publish(report, "tokenizer-report", name="report.json")
