"""One set of language codes, whichever detector speaks."""

from __future__ import annotations

import pytest

from gristmill.text.languages import keeps, language_code, script_code, script_of


@pytest.mark.parametrize(
    ("said", "code", "script"),
    [
        ("iw", "he", None),  # CLD2's, as ISO 639-1 had it until 1989
        ("jw", "jv", None),
        ("zh-Hant", "zh", "Hant"),
        ("zh", "zh", None),
        ("__label__zho_Hans", "zh", "Hans"),  # GlotLID, NLLB
        ("heb_Hebr", "he", None),
        ("cmn_Hani", "zh", None),
        ("srp_Latn", "sr", "Latn"),
        ("arb_Arab", "ar", "Arab"),
        ("zh-TW", "zh", "Hant"),
        ("nb", "no", None),
        ("xxx", None, None),
        ("un", None, None),
        (None, None, None),
        ("yue", "yue", None),
    ],
)
def test_what_detectors_say_is_one_code(said: str | None, code: str | None, script: str | None) -> None:
    assert (language_code(said), script_code(said)) == (code, script)


def test_a_script_is_told_where_a_language_has_two() -> None:
    assert script_of("这个国家的学生们说话", "zh") == "Hans"
    assert script_of("這個國家的學生們說話", "zh") == "Hant"
    assert script_of("Река је широка", "sr") == "Cyrl"
    assert script_of("Reka je široka", "sr") == "Latn"
    assert script_of("The river", "en") is None


def test_a_list_of_languages_keeps_what_it_names() -> None:
    assert keeps(("he", "jv"), "he") and keeps(("iw",), "he")
    assert keeps(("zh",), "zh", "Hant") and keeps(("zh-Hant",), "zh", "Hant")
    assert not keeps(("zh-Hant",), "zh", "Hans")
    assert not keeps(("en",), None)


@pytest.mark.parametrize(
    ("keep", "text"),
    [
        ("he", "טחנת המים שליד הנהר טחנה חיטה ושיפון לכל העמק, והאבנים שלה עדיין שם עד היום הזה."),
        ("zh", "河邊的水車為整個山谷磨小麥和黑麥,它的石頭至今還在那裡。學生們說這個國家的話。"),
        ("zh-Hant", "河邊的水車為整個山谷磨小麥和黑麥,它的石頭至今還在那裡。學生們說這個國家的話。"),
    ],
)
def test_the_filters_own_detector_keeps_what_is_asked_for(keep: str, text: str) -> None:
    pytest.importorskip("pycld2")
    import pyarrow as pa

    from gristmill.filters.block import Batch
    from gristmill.filters.options import LanguageSettings
    from gristmill.filters.sources import language_block

    block = language_block(LanguageSettings(keep=(keep,), min_score=0, detector="pycld2"))
    table = pa.table(
        {"text": pa.array([text], pa.large_string()), "id": pa.array([bytes(16)], pa.binary(16))}
    )
    measured = block.measure(Batch(table))
    assert list(measured.signals["kept"]) == [1]
