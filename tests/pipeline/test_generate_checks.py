"""Answers judged in the languages that models write: refusals, announcements, counts of words, cut ends."""

from __future__ import annotations

import pytest

from gristmill.pipeline.synthesis.answers import Answer
from gristmill.pipeline.synthesis.checks import judge
from gristmill.pipeline.synthesis.refusals import LANGUAGES, declines
from gristmill.pipeline.synthesis.settings import Checks

REFUSALS = {
    "en": [
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I do not have opinions.",
        "Unfortunately, I am unable to write this.",
    ],
    "de": [
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Als KI-Sprachmodell habe ich keine Meinung.",
        "Ich kann Ihnen bei dieser Anfrage leider nicht helfen.",
    ],
    "fr": [
        "Je suis désolé, mais je ne peux pas vous aider.",
        "En tant qu'IA, je n'ai pas d'opinion.",
        "Désolée, je ne peux pas rédiger ce texte.",
    ],
    "es": ["Lo siento, pero no puedo ayudarte con eso.", "Como modelo de lenguaje, no tengo opiniones."],
    "it": ["Mi dispiace, ma non posso aiutarti.", "Come modello linguistico non ho opinioni."],
    "pt": [
        "Sinto muito, mas não posso ajudar com isso.",
        "Desculpe, não consigo escrever isso.",
        "Como um modelo de linguagem, não tenho opiniões.",
    ],
    "nl": ["Het spijt me, maar ik kan je daar niet mee helpen.", "Als AI-taalmodel heb ik geen mening."],
    "pl": ["Przykro mi, ale nie mogę pomóc w tej sprawie.", "Jako model językowy nie mam opinii."],
    "cs": ["Omlouvám se, ale s tím vám nemohu pomoci.", "Jako jazykový model nemám názory."],
    "sv": [
        "Jag är ledsen, men jag kan inte hjälpa dig med det.",
        "Som en AI-språkmodell har jag inga åsikter.",
    ],
    "ro": ["Îmi pare rău, dar nu te pot ajuta cu asta.", "Ca model lingvistic, nu am opinii."],
    "ru": [
        "Извините, но я не могу помочь с этим.",
        "К сожалению, я не могу ответить на этот запрос.",
        "Как языковая модель, я не имею мнения.",
    ],
    "uk": ["Вибачте, але я не можу допомогти з цим.", "Як мовна модель, я не маю думок."],
    "tr": ["Üzgünüm, ancak bu konuda yardımcı olamam.", "Bir yapay zeka dil modeli olarak görüşüm yok."],
    "id": [
        "Maaf, saya tidak dapat membantu dengan permintaan itu.",
        "Sebagai model bahasa, saya tidak memiliki pendapat.",
    ],
    "vi": ["Xin lỗi, tôi không thể giúp bạn việc này.", "Là một mô hình ngôn ngữ, tôi không có ý kiến."],
    "el": ["Λυπάμαι, αλλά δεν μπορώ να βοηθήσω με αυτό.", "Ως γλωσσικό μοντέλο, δεν έχω απόψεις."],
    "ar": ["عذرًا، لا أستطيع مساعدتك في ذلك.", "بصفتي نموذج لغة، ليس لدي آراء.", "آسف، لا يمكنني تقديم ذلك."],
    "hi": [
        "मुझे खेद है, लेकिन मैं इसमें मदद नहीं कर सकता।",
        "एक AI भाषा मॉडल के रूप में, मेरी कोई राय नहीं है।",
        "क्षमा करें, मैं यह नहीं लिख सकता।",
    ],
    "zh": [
        "抱歉，我无法满足您的要求。",
        "对不起，我不能提供这方面的帮助。",
        "作为一个人工智能语言模型，我没有个人观点。",
        "很抱歉，我無法協助您。",
    ],
    "ja": [
        "申し訳ありませんが、そのご要望にはお応えできません。",
        "すみませんが、お手伝いできません。",
        "AI言語モデルとして、個人的な意見はありません。",
        "私はAIアシスタントなので、意見を持ちません。",
    ],
    "ko": [
        "죄송하지만 그 요청은 도와드릴 수 없습니다.",
        "AI 언어 모델로서 저는 의견이 없습니다.",
        "죄송합니다. 해당 내용을 작성할 수 없습니다.",
    ],
}
# Stories in which somebody declines, and texts about such words.
NO_REFUSALS = [
    "The old man said, \u201cI\u2019m sorry, but I cannot help you,\u201d and shut the gate.",
    "What is known as artificial intelligence began in the fifties.",
    "Der Müller sagte: „Es tut mir leid, ich kann dir nicht helfen“, und schloss das Tor.",
    "Man bezeichnet solche Verfahren als künstliche Intelligenz.",
    "Como ia dizendo o velho moleiro, a farinha chega cedo.",
    "Anh ấy là ai? Không ai trong làng biết.",
    "«Lo siento», dijo el molinero, y cerró la puerta.",
    "Trabajó como asistente en un laboratorio de química.",
    "人工知能として知られる技術は、一九五〇年代に始まった。",
    "她说：“对不起，我来晚了。”然后坐下。",
    "그는 \u201c미안해요\u201d라고 말하고 문을 닫았다.",
    "Мельник сказал: «Извините, я не могу помочь», и закрыл дверь.",
    "Il travaille en tant qu'assistant dans un lycée depuis dix ans.",
    "Moleiro: a palavra vem do latim e designa quem mói o grão.",
    "कृत्रिम बुद्धिमत्ता का इतिहास पचास के दशक में शुरू हुआ।",
    "Die Mühle kann ohne Wasser nicht mahlen, und der Müller muss warten.",
    "Lamento funebre: così si chiama il canto delle donne al sepolcro.",
]


def test_every_language_has_refusals_here() -> None:
    assert set(REFUSALS) == set(LANGUAGES)


@pytest.mark.parametrize("language", REFUSALS)
def test_a_refusal_is_known_in_its_language(language: str) -> None:
    for text in REFUSALS[language]:
        assert declines(text), text
        assert declines(f'"{text}"'), text
        assert judge(Checks(), Answer(text, "stop", 1, 1), "Write.", "").rule == "generate.refusal"


@pytest.mark.parametrize("text", NO_REFUSALS)
def test_what_people_in_a_text_say_is_no_refusal(text: str) -> None:
    assert not declines(text)


@pytest.mark.parametrize("text", [text for texts in REFUSALS.values() for text in texts])
def test_a_refusal_far_behind_the_beginning_is_part_of_a_text(text: str) -> None:
    assert not declines("The mill by the river ground wheat. " * 20 + text)


STORY = "水車は川のそばで小麦をひいていた。石はゆっくりと回り、粉は袋に落ちた。村の人々は朝早くから列を作った"


def test_words_of_a_script_without_blanks_are_counted_one_by_one() -> None:
    judged = judge(Checks(), Answer(STORY + "。", "stop", 1, 1), "書いて。", "")
    assert judged.rule is None
    copied = judge(Checks(), Answer(STORY + "。", "stop", 1, 1), "書いて。", STORY)
    assert copied.rule == "generate.seed_copy" and copied.value == 1.0
    assert judge(Checks(), Answer("水車。", "stop", 1, 1), "", "").rule == "generate.min_words"


def test_a_text_cut_by_its_length_ends_behind_its_last_sentence_in_any_script() -> None:
    judged = judge(Checks(), Answer(STORY, "length", 1, 1), "", "")
    assert judged.text == STORY[: STORY.rindex("。") + 1] and judged.notes == ("cut",)
    hindi = "चक्की नदी के पास थी और वह गेहूँ पीसती थी। पत्थर धीरे धीरे घूमते थे और आटा थैलों में गिरता था। गाँव के लो"
    assert judge(Checks(min_words=5), Answer(hindi, "length", 1, 1), "", "").text.endswith("था।")


@pytest.mark.parametrize(
    "line",
    ["Sure, here is the text:", "Natürlich, hier ist der Text:", "Voici le texte :", "当然！以下是文章：",
     "Вот текст:", "はい、以下が本文です：", "물론입니다. 아래는 글입니다:", "إليك النص:",
     "Claro, aquí está el texto:"],
)  # fmt: skip
def test_a_line_that_announces_the_text_is_taken_off(line: str) -> None:
    text = "The mill by the river ground wheat and rye for the whole valley, day after day. " * 2
    judged = judge(Checks(), Answer(f"{line}\n\n{text}", "stop", 1, 1), "", "")
    assert judged.text == text.strip() and judged.notes == ("preface",)
