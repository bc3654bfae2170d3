"""Licence notices of source files: identifiers, wording behind comment marks, and what rules make of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.files.parquet import read_parquet
from gristmill.pipeline.phases.rights.notices import HEAD_CHARS, licence_of
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.runner import run_plan
from tests.support.toy_stage import INLINE, QUIET

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy
of this software, to deal in it without restriction, provided that the above copyright notice and this
permission notice shall be included in all copies."""
BSD = """Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:"""
GPL = """it under the terms of the GNU General Public License as published by
the Free Software Foundation; either version 2 of the License, or (at your option) any later version."""


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("# SPDX-License-Identifier: MIT\nimport os", "mit"),
        ("/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */", "gpl-2.0-only"),
        ("// SPDX-License-Identifier: (Apache-2.0 OR MIT) AND BSD-3-Clause", "apache-2.0 mit bsd-3-clause"),
        ("<!-- SPDX-License-Identifier: ISC -->", "isc"),
        ("# SPDX-License-Identifier: MIT see LICENSE", "mit"),
        ("\n".join(f"# {line}" for line in MIT.splitlines()), "mit"),
        ("/*\n" + "\n".join(f" * {line}" for line in MIT.splitlines()) + "\n */", "mit"),
        (
            MIT.replace("provided that the above", "in whatever").replace("this\npermission notice", "way"),
            "mit-0",
        ),
        ("\n".join(f"-- {line}" for line in BSD.splitlines()), "bsd-2-clause"),
        (BSD + "\nNeither the name of the owner nor ...", "bsd-3-clause"),
        (BSD + "\nAll advertising materials mentioning features", "bsd-4-clause"),
        ('# Licensed under the Apache License, Version 2.0 (the "License");', "apache-2.0"),
        (" * This program is free software; you can redistribute\n * " + GPL, "gpl-2.0-or-later"),
        ("GNU Lesser General Public License version 2.1 only", "lgpl-2.1-only"),
        (
            "under the GNU Affero General Public License, version 3,\nor any later version",
            "agpl-3.0-or-later",
        ),
        ("This is subject to the terms of the Mozilla Public License, v. 2.0.", "mpl-2.0"),
        ("// Released under the MIT license", "mit"),
        ("# licensed under the BSD 3-Clause License", "bsd-3-clause"),
        ("def licence(mit): return mit  # see the license file", None),
        ("print('permission denied')", None),
        ("x = 1\n" * HEAD_CHARS + "# SPDX-License-Identifier: MIT", None),
        ("", None),
    ],
)
def test_a_notice_is_told_by_identifier_or_wording(text: str, licence: str | None) -> None:
    assert licence_of(text) == licence


def test_rules_keep_permissive_files_and_name_what_they_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {
        "a": f"# {MIT}",
        "b": f"/* {GPL} */",
        "c": "int main() {}",
        "d": "// SPDX-License-Identifier: CC0-1.0",
    }
    rows = [json.dumps({"id": name, "text": text}) for name, text in texts.items()]
    (tmp_path / "code.jsonl").write_text("\n".join(rows))
    recipe = {
        "name": "code",
        "sources": {"code": {"inputs": "code.jsonl"}},
        "rights": {"notices": True, "licences": {"keep": ["permissive"], "unmarked": "remove"}},
    }
    manifests = run_plan(build_plan(make_recipe(recipe)), tmp_path / "out", INLINE, QUIET).manifests
    step = manifests["rights/code"]
    kept = {
        row["text"]: row["licence"]
        for path in step.paths("documents")
        for row in read_parquet(path).to_pylist()
    }
    gone = {
        row["text"]: row["rule"] for path in step.paths("removed") for row in read_parquet(path).to_pylist()
    }
    assert kept == {texts["a"]: "mit", texts["d"]: "cc0-1.0"}
    assert gone == {texts["b"]: "licence.keep", texts["c"]: "licence.unmarked"}
    recipe["rights"] = {"licences": {"unmarked": "keep"}}
    manifests = run_plan(build_plan(make_recipe(recipe)), tmp_path / "out", INLINE, QUIET).manifests
    licences = [
        row["licence"]
        for path in manifests["rights/code"].paths("documents")
        for row in read_parquet(path).to_pylist()
    ]
    assert licences == [None] * 4
