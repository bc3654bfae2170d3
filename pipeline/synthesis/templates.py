"""The wording of prompts, by name: our own; what each asks for is from the paper named beside it.

`{text}` stands for a passage of the seed, `{audience}` and `{style}` for one of each, drawn by hash.
"""

from __future__ import annotations

_PASSAGE = "<passage>\n{text}\n</passage>\n\n"
_SAME = "Leave no fact out and add none. Give the text alone."


def _of(*sentences: str) -> str:
    return _PASSAGE + " ".join(sentences)


TEMPLATES: dict[str, str] = {
    # Cosmopedia (Ben Allal et al. 2024, huggingface.co/blog/cosmopedia): a seed, an audience, a form
    "cosmopedia": _of(
        "Write {style} for {audience} on the subject of this passage from the web.",
        "Use it as a starting point and do not retell it:",
        "explain the ideas behind it, in depth and in your own words, with examples.",
        "Do not mention the passage. Give the text alone.",
    ),
    # WRAP (Maini et al. 2024, arXiv:2401.16380): four styles of the same content
    "wrap-easy": _of(
        "Say the same as this passage in short sentences and everyday words",
        f"that a child of ten understands. {_SAME}",
    ),
    "wrap-encyclopedia": _of(
        f"Say the same as this passage in the clear, neutral prose of an encyclopedia. {_SAME}"
    ),
    "wrap-scholar": _of(
        f"Say the same as this passage in terse, learned language, as a specialist would. {_SAME}"
    ),
    "wrap-qa": _of(
        "Turn this passage into a conversation of questions and answers.",
        "Begin each question with `Question:` and each answer with `Answer:`. Give the conversation alone.",
    ),
    # Nemotron-CC (Su et al. 2024, arXiv:2412.02595): what is made of pages of high and of low quality
    "nemotron-qa": _of(
        "Ask up to eight questions that this passage answers, of different kinds",
        "(what, why, how, yes or no, a comparison),",
        "and answer each in one to three sentences from the passage alone.",
        "Begin each with `Question:`, its answer with `Answer:`. Give nothing else.",
    ),
    "nemotron-wiki": _of(
        "Write this passage anew in the style of Wikipedia: correct, plain, well ordered.",
        "Keep what informs, drop advertisements, menus and talk about the site. Give the text alone.",
    ),
    "nemotron-distil": _of(
        "Condense this passage: keep every fact, figure and line of reasoning, and the terms it uses,",
        "drop repetition and padding. Write whole sentences. Give the text alone.",
    ),
    "nemotron-knowledge": _of(
        "Write down the knowledge that this passage holds as continuous prose:",
        "facts, concepts and how they hang together, as a textbook would,",
        "without what is merely about its author or site. Give the text alone.",
    ),
    "nemotron-list": _of(
        "Set out the main information of this passage as an ordered list, with sub-items where they help,",
        "every item a full statement. Give the list alone.",
    ),
}
AUDIENCES = (
    "young children",
    "pupils of secondary school",
    "students at college",
    "professionals of the field",
    "the general public",
)
STYLES = (
    "a chapter of a textbook",
    "a long blog post",
    "a step-by-step guide",
    "a story that teaches",
    "an article for a popular magazine",
)
