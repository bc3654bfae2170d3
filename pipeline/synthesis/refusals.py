"""How models decline and how they announce a text, by language: what an answer begins with when it is none.

The wording is of our own collection, from how instruction-tuned models decline; it names what a model says of
itself or of the task, never what a story's people say to each other: an apology counts where it begins the
answer, and nothing counts right behind an opening quote. Other languages than these pass unseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_OPENING = 400  # characters of an answer in which it declines, if it does

# By language: apologies, which decline where they begin the answer; and what a model says it cannot do or,
# where a clause begins (@), what it says it is.
_DECLINING: dict[str, tuple[str, str]] = {
    "en": (
        r"(?:i(?:'|\u2019)?m|i am) (?:very |really |so )?sorry\b|sorry, (?:but )?(?:i|as)\b|i apologi[sz]e\b"
        r"|unfortunately, i (?:can|am|do)",
        r"i (?:can(?:no|'|\u2019)t|can not|won(?:'|\u2019)t|will not|(?:'|\u2019)?m (?:not able|unable) to"
        r"|am (?:not able|unable) to) (?:\w+ ){0,2}(?:help|assist|provide|create|generate|fulfill?|write"
        r"|comply"
        r"|continue|answer|do that)|(?:against|violates?) (?:my|our) (?:guidelines|policy|policies"
        r"|programming)"
        r"|@as an? (?:ai\b|artificial intelligence|large language|language model)",
    ),
    "de": (
        r"(?:es )?tut mir (?:sehr )?leid|entschuldigung, (?:aber )?ich|ich bedauere|leider kann ich",
        r"ich (?:kann|darf|werde) (?:\w+ ){0,6}nicht (?:\w+ ){0,2}(?:helfen|behilflich|erstellen|schreiben"
        r"|erfüllen"
        r"|beantworten|bereitstellen|nachkommen|weiterhelfen)|@als (?:ein |eine )?(?:ki\b"
        r"|künstliche intelligenz"
        r"|(?:großes )?sprachmodell)",
    ),
    "fr": (
        r"(?:je suis |je me )?(?:vraiment )?désolée?\b|je regrette|je m(?:'|\u2019)excuse"
        r"|malheureusement, je ne",
        r"je ne (?:peux|puis|suis) pas (?:\w+ ){0,3}(?:aider|vous aider|t(?:'|\u2019)aider|fournir|créer"
        r"|générer|écrire"
        r"|rédiger|répondre|en mesure|capable|autorisé)|@en tant qu(?:e |(?:'|\u2019))(?:ia\b|intelligence"
        r" artificielle|modèle de langage|assistant (?:ia|virtuel))",
    ),
    "es": (
        r"lo siento|lo lamento|lamento (?:no|informar|pero)|disculpa|me temo que no"
        r"|lamentablemente, no puedo",
        r"no puedo (?:\w+ ){0,2}(?:ayudar|asistir|proporcionar|generar|crear|cumplir|escribir|continuar"
        r"|responder)"
        r"|@como (?:un |una )?(?:modelo de lenguaje|inteligencia artificial|ia, |asistente (?:de ia"
        r"|virtual))",
    ),
    "it": (
        r"mi dispiace|mi scuso|purtroppo,? non posso|spiacente",
        r"non (?:posso|sono in grado di) (?:\w+ ){0,2}(?:aiutar|assister|fornir|generar|crear|scriver"
        r"|soddisfar"
        r"|rispondere)|@(?:come|in quanto) (?:un |una |un(?:'|\u2019))?(?:modello linguistico|ia\b"
        r"|intelligenza artificiale"
        r"|assistente (?:ia|virtuale))",
    ),
    "pt": (
        r"sinto muito|lamento(?:,| mas| não| informar)|desculpe|peço desculpas?"
        r"|infelizmente,? não (?:posso|consigo)",
        r"não (?:posso|consigo) (?:\w+ ){0,2}(?:ajudar|fornecer|gerar|criar|escrever|atender|responder"
        r"|continuar)"
        r"|@como (?:um |uma )(?:modelo de linguagem|ia\b|inteligência artificial|assistente (?:de ia"
        r"|virtual))",
    ),
    "nl": (
        r"het spijt me|sorry, (?:maar )?ik|helaas kan ik|mijn excuses",
        r"ik kan (?:\w+ ){0,5}niet (?:\w+ ){0,2}(?:helpen|assisteren|schrijven|maken|genereren|voldoen"
        r"|beantwoorden)"
        r"|@als (?:een )?(?:ai\b|ai-|(?:groot )?taalmodel|kunstmatige intelligentie)",
    ),
    "pl": (
        r"przykro mi|przepraszam, (?:ale|nie)|niestety,? nie mogę",
        r"nie mogę (?:\w+ ){0,3}(?:pomóc|udzielić|stworzyć|napisać|wygenerować|spełnić|odpowiedzieć)"
        r"|@jako (?:duży )?(?:model językowy|sztuczna inteligencja|ai\b|asystent ai)",
    ),
    "cs": (
        r"omlouvám se|je mi líto|bohužel (?:\w+ )?nemohu",
        r"nemohu (?:\w+ ){0,3}(?:pomoci|pomoct|poskytnout|vytvořit|napsat|vygenerovat|odpovědět)"
        r"|@jako (?:jazykový model|umělá inteligence|ai\b)",
    ),
    "sv": (
        r"jag är ledsen|jag beklagar|tyvärr kan jag|förlåt, (?:men )?jag",
        r"jag kan (?:\w+ ){0,3}inte (?:\w+ ){0,2}(?:hjälpa|skriva|skapa|generera|svara|tillhandahålla)"
        r"|@som (?:en |ett )?(?:ai\b|ai-|språkmodell|stor språkmodell|artificiell intelligens)",
    ),
    "ro": (
        r"îmi pare rău|îmi cer scuze|din păcate,? nu pot",
        r"nu pot (?:\w+ ){0,3}(?:ajut|oferi|crea|genera|scrie|răspunde)|@ca (?:un |o )?(?:model lingvistic"
        r"|model de limbaj"
        r"|inteligență artificială)",
    ),
    "ru": (
        r"извините|простите, (?:но|я)|прошу прощения|мне жаль|к сожалению, я не",
        r"я не (?:могу|смогу) (?:\w+ ){0,3}(?:помочь|предостав|созда|написа|сгенерир|выполн|ответ|продолж)"
        r"|@(?:как|будучи) (?:большая )?(?:языков\w+ модел\w+|искусственн\w+ интеллект\w*|ии\b)",
    ),
    "uk": (
        r"вибачте|перепрошую|мені шкода|на жаль, я не",
        r"я не можу (?:\w+ ){0,3}(?:допомог|надати|створ|написа|викона|відпов)|@як (?:мовна модель"
        r"|штучний інтелект|ші\b)",
    ),
    "tr": (
        r"üzgünüm|maalesef|ne yazık ki|özür dilerim",
        r"(?:yardımcı olamam|yardım edemem|bunu yapamam|yanıtlayamam|oluşturamam)"
        r"|@bir (?:yapay zekâ?a?|dil modeli|büyük dil modeli)\w* olarak|@bir yapay zeka (?:\w+ ){0,3}olarak",
    ),
    "id": (
        r"maaf, (?:tetapi |tapi |namun )?saya|mohon maaf|saya (?:minta|mohon) maaf",
        r"saya tidak (?:dapat|bisa) (?:\w+ ){0,2}(?:membantu|memberikan|membuat|menulis|menghasilkan"
        r"|menjawab)"
        r"|@sebagai (?:sebuah )?(?:model bahasa|ai\b|asisten ai|kecerdasan buatan)",
    ),
    "vi": (
        r"(?:tôi )?(?:rất )?(?:xin lỗi|rất tiếc)|rất tiếc",
        r"tôi không thể (?:\w+ ){0,2}(?:giúp|hỗ trợ|cung cấp|tạo|viết|trả lời)"
        r"|@là (?:một )?(?:mô hình ngôn ngữ|trí tuệ nhân tạo|trợ lý ai)",
    ),
    "el": (
        r"λυπάμαι|ζητώ συγγνώμη|δυστυχώς,? δεν μπορώ",
        r"δεν μπορώ να (?:\w+ ){0,2}(?:βοηθήσω|δημιουργήσω|γράψω|παράσχω|απαντήσω)"
        r"|@ως (?:γλωσσικό μοντέλο|τεχνητή νοημοσύνη)",
    ),
    "ar": (
        r"عذر(?:ا|\u064b)+|آسف|أعتذر|للأسف،? لا",
        r"لا (?:أستطيع|يمكنني) (?:\w+ ){0,2}(?:مساعد|تقديم|إنشاء|كتابة|تلبية|الإجابة)"
        r"|@(?:بصفتي|باعتباري) (?:نموذج|ذكاء|مساعد)|@ك(?:نموذج لغوي|ذكاء اصطناعي)",
    ),
    "hi": (
        r"(?:मुझे )?खेद है|क्षमा करें|माफ़? क(?:ीजिए|रें)|मुझे अफ़?सोस है",
        r"मदद नहीं कर सकत|@एक (?:ai|एआई|ए\.आई\.|भाषा मॉडल|कृत्रिम बुद्धि\S*)"
        r"(?: \S+){0,2} के (?:रूप|नाते)",
    ),
    "zh": (
        r"(?:非常|很|十分)?(?:抱歉|对不起|對不起|遗憾|遺憾)[，,。！!我]",
        r"我(?:无法|無法|不能|不会)(?:为|為|给|帮|幫|协助|提供|完成|生成|满足|滿足|回答|撰写|写|继续)"
        r"|@(?:作为|作為|我是)(?:一个|一個|一名)?(?:ai|人工智[能慧]|语言模型|語言模型|大型语言)",
    ),
    "ja": (
        r"(?:大変)?申し訳(?:ありません|ございません)|すみませんが|ごめんなさい|残念ながら",
        r"(?:お手伝い|お答え|対応|回答|提供|生成|作成)(?:すること(?:は|が))?(?:できません|できかねます|いたしかねます)"
        r"|@(?:ai|人工知能|言語モデル)(?:アシスタント|言語モデル)?(?:として[、,はの]|なので)",
    ),
    "ko": (
        r"(?:정말 |대단히 )?(?:죄송|미안)(?:합니다|하지만|해요)|유감스럽게도|안타깝게도",
        r"(?:도와드릴|도울|제공할|작성할|생성할|답변할|응할) 수(?:는|가)? ?없"
        r"|@(?:ai|인공지능|언어 ?모델)(?: 언어 ?모델| 어시스턴트| 비서)?(?:로서|으로서|이기 때문)",
    ),
}
LANGUAGES = tuple(_DECLINING)


# Not right behind a letter, nor behind a quote that opens what somebody in a text says.
_ALONE = r"(?<![\w\"\u201c\u201e\u00ab\u2018\u300c\u300e])"
_CLAUSE = (  # the start, behind a mark, or behind "I" in Japanese and Korean
    r"(?:\A\W{0,8}|[.!?,:;\n\u3002\uff0c\uff01\uff1f\u3001\u060c\u0964]\s{0,4}|私は|저는 )"
)
_QUOTES = '"\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u300e\u300f'
_WITHOUT_BLANKS = ("zh", "ja", "ko")  # words have no edges there


def _any(patterns: Iterable[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


_APOLOGY = re.compile(
    rf"\W{{0,8}}?{_ALONE}(?:{_any(apology for apology, _ in _DECLINING.values())})", re.IGNORECASE
)
_SAYS = {name: said.split("|@") for name, (_, said) in _DECLINING.items()}
_UNABLE = re.compile(
    rf"{_ALONE}(?:{_any(said[0] for name, said in _SAYS.items() if name not in _WITHOUT_BLANKS)})"
    rf"|(?:{_any(_SAYS[name][0] for name in _WITHOUT_BLANKS)})"
    rf"|{_CLAUSE}(?:{_any(identity for said in _SAYS.values() for identity in said[1:])})",
    re.IGNORECASE,
)


def declines(text: str) -> bool:
    """Whether an answer begins by declining, in one of `LANGUAGES`; what is said in quotes does not count,
    unless all of the answer is in them."""
    text = text.strip()
    if text[:1] and text[0] in _QUOTES and text[-1] in _QUOTES:
        text = text[1:-1]
    opening = text[:_OPENING]
    if _APOLOGY.match(opening):
        return True
    return any(_is_outside(opening[: found.start()]) for found in _UNABLE.finditer(opening))


def _is_outside(before: str) -> bool:
    """Whether no quote is open behind a text."""
    return sum(map(before.count, _QUOTES)) % 2 == 0
