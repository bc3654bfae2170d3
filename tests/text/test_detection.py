"""The language of texts: eldc where it is sure, CLD2 where it is not, the same one by one and in batches."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gristmill.text import detection
from gristmill.text.detection import detect, detect_batch, detect_markup

# The mill by the river, in languages that eldc knows and, after them, in some that it does not.
TEXTS = {
    "en": "The mill by the river ground wheat and rye for the whole valley, and its stones are still there.",
    "de": "Die Mühle am Fluss mahlte Weizen und Roggen für das ganze Tal, und ihre Steine liegen noch dort.",
    "no": "Kvernen ved elven malte hvete og rug for hele dalen, og steinene ligger der fortsatt i dag.",
    "da": "Møllen ved åen malede hvede og rug til hele dalen, og dens sten ligger der endnu den dag i dag.",
    "hi": "नदी के किनारे की चक्की पूरी घाटी के लिए गेहूँ और राई पीसती थी और उसके पत्थर आज भी वहीं हैं।",
    "ru": "Мельница у реки молола пшеницу и рожь для всей долины, и её камни до сих пор лежат там.",
    "zh": "河边的水车为整个山谷磨小麦和黑麦，它的石头至今还在那里。",
    "gl": "O muíño da beira do río moía trigo e centeo para todo o val, e as súas pedras aínda están alí.",
    "id": "Kincir air di tepi sungai menggiling gandum untuk seluruh lembah, dan batunya masih di sana.",
    "cy": "Roedd y felin ger yr afon yn malu gwenith a rhyg i'r dyffryn cyfan, ac mae ei cherrig yno o hyd.",
    "ga": "Bhí an muileann cois abhann ag meilt cruithneachta agus seagail don ghleann.",
    # Of the Universal Declaration of Human Rights: eldc takes them for Serbian, Persian, Amharic, Icelandic.
    "mk": "Бидејќи земјите – членки се обврзаа да го издигнуваат универзалното почитување и следење на"
    " човековите права и слободи, во соработка со Обединетите нации;",
    "ps": "له هغه ځايه چې اساساً بايد د بشري حقوقو د قانون په اجرا کولو سره حمايت وشي، چې بشر د وروستې علاج"
    " په نوم د ظلم او فشار پر ضد په قيام مجبور نه شي،",
    "ti": "ብመንፅር ክብርን መሰልን ኩሎም ሰባት እንትውለዱ ነፃን ማዕሪን እዮም፡፡ ምስትውዓልን ሕልናን ዝተዓደሎም ብምዃኖም ንሕድሕዶም ብሕውነታዊ"
    " መንፈስ ክተሓላለዩ ኦለዎም፡፡",
    "fo": "Limaríkini hava skyldubundið seg til, í samvinnu við Sameindu Tjóðirnar, at virka fyri at fáa"
    " framt, at mannarættindini og undirstøðilig frælsisrættindi verða alment vird og hildin.",
    "la": "Mola iuxta flumen triticum et secale toti valli molebat, et lapides eius adhuc ibi iacent.",
}
pytestmark = pytest.mark.skipif(detection.eldc is None, reason="eldc has no wheel for this Python")


@pytest.mark.parametrize("code", TEXTS)
def test_a_text_is_told_whether_eldc_knows_its_language_or_not(code: str) -> None:
    assert detect(TEXTS[code])[0] == code


def test_a_batch_gives_what_one_by_one_gives_also_for_slices_empty_and_long_texts() -> None:
    texts = ["", "1234", *TEXTS.values(), *(text * 100 for text in TEXTS.values()), "é" * 5000]
    array = pa.array(texts, pa.large_string())
    codes, shares = detect_batch(array.slice(1, len(texts) - 2))
    one_by_one = [detect(text) for text in texts[1:-1]]
    assert codes == [code for code, _ in one_by_one]
    assert [None if share != share else share for share in shares.tolist()] == [s for _, s in one_by_one]
    assert codes[0] is None


def test_a_share_is_that_of_the_texts_main_language() -> None:
    assert detect(TEXTS["en"] * 40) == ("en", 1.0)
    code, share = detect(TEXTS["de"] * 30 + TEXTS["ru"] * 10)
    assert code == "de" and share is not None and 0.4 < share < 0.9


def test_three_pieces_decide_where_they_agree_and_all_are_asked_where_they_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    told = detection._told
    monkeypatch.setattr(detection, "_told", lambda piece: asked.append(piece) or told(piece))
    assert detect(TEXTS["en"] * 60) == ("en", 1.0)
    assert len(asked) == 3
    asked.clear()
    assert detect(TEXTS["en"] * 40 + TEXTS["de"] * 20)[0] == "en"
    assert len(asked) == 3 + 8


def test_what_has_no_language_has_none() -> None:
    assert detect("") == (None, None)
    assert detect("0 1 2 3 4 5 6 7 8 9 " * 30) == (None, None)


def test_markup_is_not_part_of_a_pages_language() -> None:
    page = (
        "<html><body class='main content'><a href='/about/us'>About</a><p>" + TEXTS["de"] * 4 + "</p></body>"
    )
    assert detect_markup(page)[0] == "de"


@pytest.mark.parametrize("missing", ["eldc", "both"])
def test_without_one_detector_the_next_one_tells(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "eldc", None)
    if missing == "both":
        monkeypatch.setattr(detection, "pycld2", None)
    for code in ("en", "de"):
        found, share = detect(TEXTS[code] * 3)
        assert found == code and share is not None and 0 < share <= 1
    assert detect_markup(TEXTS["de"])[0] == "de"
