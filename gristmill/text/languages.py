"""One set of language codes for every detector: ISO 639-1 where there is one, and a script beside it.

CLD2 says `iw`, `jw` and `zh-Hant`, lid.176 `he`, `jv` and `zh`, GlotLID and NLLB `heb_Hebr`, `jav_Latn` and
`zho_Hant`: compared raw, a list of languages to keep removes what it names.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Codes withdrawn from ISO 639-1 or never in it, by what stands for them now.
_RENAMED = {"iw": "he", "jw": "jv", "in": "id", "ji": "yi", "mo": "ro", "sh": "sr", "nb": "no", "tl": "fil"}
_NONE = frozenset(("un", "und", "unknown", "xxx", "zxx", "mis", "mul", ""))
_SCRIPT_CODES = {"hans": "Hans", "hant": "Hant", "latn": "Latn", "cyrl": "Cyrl", "arab": "Arab"}
_REGIONS = {"cn": "Hans", "sg": "Hans", "tw": "Hant", "hk": "Hant", "mo": "Hant"}
# ISO 639-3 (and the members of macrolanguages that detectors name) to ISO 639-1.
_THREE_AND_TWO = (
    "afr af amh am ara ar arb ar asm as aze az azj az bel be ben bn bod bo bos bs bul bg "
    "cat ca ceb ceb ces cs cmn zh cos co cym cy dan da deu de div dv dzo dz ekk et ell el "
    "eng en epo eo est et eus eu fao fo fas fa fil fil fin fi fra fr fry fy gla gd gle ga "
    "glg gl guj gu hat ht hau ha heb he hin hi hrv hr hun hu hye hy ibo ig ind id isl is "
    "ita it jav jv jpn ja kan kn kat ka kaz kk khk mn khm km kin rw kir ky kor ko kur ku "
    "kmr ku lao lo lat la lav lv lvs lv lit lt ltz lb mal ml mar mr mkd mk mlg mg plt mg "
    "mlt mt mon mn mri mi msa ms zsm ms mya my nep ne npi ne nld nl nno nn nob no nor no "
    "nya ny oci oc ori or ory or pan pa pes fa pol pl por pt prs fa pus ps pbt ps que qu "
    "ron ro rus ru san sa sin si slk sk slv sl sme se smo sm sna sn snd sd som so sot st "
    "spa es sqi sq als sq srp sr sun su swa sw swh sw swe sv tam ta tat tt tel te tgk tg "
    "tgl fil tha th tir ti ton to tuk tk tur tr uig ug ukr uk urd ur uzb uz uzn uz vie vi "
    "vol vo wol wo xho xh yid yi ydd yi yor yo yue yue zho zh zul zu "
)
_PARTS = _THREE_AND_TWO.split()
_TWO_OF_THREE = dict(zip(_PARTS[::2], _PARTS[1::2], strict=True))

# English names of languages and their codes (ISO 639-1), for whoever writes the name.
_NAMES = """
arabic:ar bengali:bn bulgarian:bg catalan:ca chinese:zh croatian:hr czech:cs danish:da dutch:nl english:en
estonian:et finnish:fi french:fr german:de greek:el hebrew:he hindi:hi hungarian:hu indonesian:id italian:it
japanese:ja korean:ko latvian:lv lithuanian:lt malay:ms norwegian:no persian:fa polish:pl portuguese:pt
romanian:ro russian:ru serbian:sr slovak:sk slovenian:sl spanish:es swahili:sw swedish:sv tamil:ta telugu:te
thai:th turkish:tr ukrainian:uk urdu:ur vietnamese:vi
"""
_BY_NAME = dict(pair.split(":") for pair in _NAMES.split())
# ISO 639-1, and what was withdrawn from it.
_TWO_LETTERS = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de "
    "dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia "
    "id ie ig ii ik in io is it iu iw ja ji jv jw ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb "
    "lg li ln lo lt lu lv mg mh mi mk ml mn mo mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om "
    "or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw "
    "ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu "
)
_OF_TWO_LETTERS = frozenset(_TWO_LETTERS.split())
# Codes of countries that are none of languages, by what is spoken there.
_COUNTRIES = "at:de cn:zh cz:cs dk:da gr:el il:he jp:ja rs:sr ua:uk"
_BY_COUNTRY = dict(pair.split(":") for pair in _COUNTRIES.split())


@lru_cache(maxsize=4096)
def language_code(said: str | None) -> str | None:
    """Return the one code for what a detector says, without its script; None for no language."""
    code = (said or "").removeprefix("__label__").replace("_", "-").partition("-")[0].lower()
    code = _TWO_OF_THREE.get(code, code)
    code = _RENAMED.get(code, code)
    return None if code in _NONE else code


def script_code(said: str | None) -> str | None:
    """Return the script that a detector says beside a language, such as Hant of `zh-Hant` and `zho_Hant`."""
    parts = (said or "").removeprefix("__label__").replace("_", "-").lower().split("-")[1:]
    return next((found for part in parts if (found := _SCRIPT_CODES.get(part) or _REGIONS.get(part))), None)


def script_of(text: str, code: str | None) -> str | None:
    """Tell the script of a text in a language that is written in two: Chinese, Serbian and their like."""
    if code == "zh":
        simplified, traditional = (sum(map(text.count, chars)) for chars in (_SIMPLIFIED, _TRADITIONAL))
        return None if simplified == traditional else "Hans" if simplified > traditional else "Hant"
    if code in _TWO_SCRIPTS:
        cyrillic = sum("\u0400" <= char <= "\u04ff" for char in text)
        latin = sum("a" <= char <= "z" or "A" <= char <= "Z" or "\xc0" <= char <= "\u024f" for char in text)
        return None if cyrillic == latin else "Cyrl" if cyrillic > latin else "Latn"
    return None


# Frequent characters that one of the two ways of writing alone has, pair by pair.
_SIMPLIFIED = "这们来对时说为国学会过个发还样开没问见长车马东书话业门电动让从"
_TRADITIONAL = "這們來對時說為國學會過個發還樣開沒問見長車馬東書話業門電動讓從"
_TWO_SCRIPTS = frozenset(("sr", "bs", "uz", "az", "kk", "tt"))


def keeps(keep: tuple[str, ...], code: str | None, script: str | None = None) -> bool:
    """Whether a list of languages names this one: `zh` names both scripts, `zh-Hant` one of them."""
    if code is None:
        return False
    wanted = {(language_code(name), script_code(name)) for name in keep}
    return (code, None) in wanted or (code, script) in wanted


def check_language(code: object) -> None:
    """Raise ValueError for what names no language by its code, with the code that may be meant: a list of
    languages to keep would remove all that it means. Of three letters any is taken: models tell thousands."""
    if isinstance(code, bool):
        hint = "" if code else '; for Norwegian put it in quotes: `"no"`'
        raise ValueError(f"{code} is no language code{hint}")
    if not isinstance(code, str):
        return
    meant = _BY_NAME.get(code.strip().lower()) or _BY_COUNTRY.get(code)
    is_spelled = re.fullmatch(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*", code)
    first = re.split("[-_]", code)[0]
    if not is_spelled or language_code(code) is None or (len(first) == 2 and first not in _OF_TWO_LETTERS):
        hint = f"; did you mean `{meant}`?" if meant else ", such as en, de or zh"
        raise ValueError(f"`{code}` is no language code{hint}")
