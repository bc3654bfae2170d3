"""Layouts of published corpora: which column holds what, so that `columns: dolma` is all there is to say.

A layout of your own is a YAML file of the same keys (`columns: mine.yaml`), or one of these with changes
(`columns: {layout: dolma, text: body}`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LAYOUTS: Mapping[str, Mapping[str, str | None]] = {
    # huggingface.co/datasets/HuggingFaceFW/fineweb (and fineweb-edu, fineweb-2): text, id, dump, url, date,
    # file_path, language, language_score, token_count
    "fineweb": {"text": "text", "id": "id", "url": "url", "date": "date"},
    # github.com/allenai/dolma, docs/data-format.md: id, text, source, added, created, metadata
    "dolma": {"text": "text", "id": "id", "url": "metadata.url", "date": "created"},
    # github.com/togethercomputer/RedPajama-Data, branch rp_v1, and huggingface.co/datasets/cerebras/
    # SlimPajama-627B: text, meta (an object, of Common Crawl's parts with url and timestamp)
    "redpajama-v1": {"text": "text", "id": None, "url": "meta.url", "date": "meta.timestamp"},
    # github.com/togethercomputer/RedPajama-Data, documents: raw_content, url, date_download, digest, ...; the
    # id of a document is its place in the published file and no field of it
    "redpajama-v2": {"text": "raw_content", "id": None, "url": "url", "date": "date_download"},
    # huggingface.co/datasets/allenai/c4: text, timestamp, url
    "c4": {"text": "text", "id": None, "url": "url", "date": "timestamp"},
    # huggingface.co/datasets/bigcode/the-stack: content, hexsha, size, ext, lang, max_stars_repo_name, ...
    "the-stack": {"text": "content", "id": "hexsha", "url": None, "date": None},
    # huggingface.co/datasets/wikimedia/wikipedia: id, url, title, text
    "wikipedia": {"text": "text", "id": "id", "url": "url", "date": None},
    # huggingface.co/datasets/mlfoundations/dclm-baseline-1.0: text, url, metadata (the WARC headers), ...
    "dclm": {
        "text": "text",
        "id": "metadata.WARC-Record-ID",
        "url": "url",
        "date": "metadata.WARC-Date",
    },
}


def resolve_columns(said: Any) -> Any:
    """Return the columns that a name, a file or a changed layout stands for; anything else as it is."""
    if isinstance(said, str):
        return _named(said)
    if isinstance(said, Mapping) and "layout" in said:
        changes = {key: value for key, value in said.items() if key != "layout"}
        return {**_named(str(said["layout"])), **changes}
    return said


def _named(name: str) -> dict[str, Any]:
    if name in LAYOUTS:
        return dict(LAYOUTS[name])
    if not name.endswith((".yaml", ".yml")):
        raise ValueError(
            f"no layout `{name}`; known: {', '.join(LAYOUTS)}, a YAML file of your own, or say the columns"
        )
    import yaml

    from gristmill.files.disk import read_file
    from gristmill.yaml12 import BoundedLoader

    try:
        own = yaml.load(read_file(Path(name)).decode(), BoundedLoader)  # a subclass of SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"the layout `{name}` cannot be read: {error}") from None
    if not isinstance(own, dict):
        raise ValueError(f"the layout `{name}` must hold a mapping such as `text: content`")
    found = resolve_columns(own)
    return dict(found)
