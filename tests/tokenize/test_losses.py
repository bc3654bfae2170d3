"""What a tokenizer loses is counted for every kind of tokenizer, by kind of loss."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gristmill.tokenize.encoding.encode import encode
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import open_tokenizer
from gristmill.tokenize.training.losses import kinds
from tests.support.small_corpus import write_documents


@pytest.mark.parametrize(
    ("text", "back", "unknown", "found"),
    [
        ("a\nb", "a b", False, ["line breaks"]),
        ("a  b", "a b", False, ["blanks"]),
        (" a", "a", False, ["blanks"]),
        ("a▁b", "a b", False, ["U+2581"]),
        ("½ ﬁ", "1⁄2 fi", False, ["normaliser"]),
        ("İx", "i̇x", False, ["normaliser"]),
        ("漢字", " ⁇ ", True, ["unknown"]),
        ("abc", "abd", False, ["other"]),
        ("ﬁ\n\nx", "fi x", False, ["line breaks", "normaliser"]),
    ],
)
def test_losses_are_told_apart(text: str, back: str, unknown: bool, found: list[str]) -> None:
    assert kinds(text, back, unknown=unknown) == found


def test_a_default_sentencepiece_model_says_that_it_loses_every_line_break(tmp_path: Path) -> None:
    """`spm_train` without options: nmt_nfkc, extra blanks removed, no byte fallback."""
    import sentencepiece

    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["alpha beta gamma delta print run code"] * 50), model_writer=buffer,
        vocab_size=40, model_type="unigram", minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    (tmp_path / "default.model").write_bytes(buffer.getvalue())
    texts = [f"run(x):\n    print  ½ ﬁ\n\n\tcode {number} 漢字\n" for number in range(20)]
    documents = write_documents(tmp_path / "d.parquet", "s", [*texts, "alpha beta"])
    encoder = Encoder(open_tokenizer(tmp_path / "default.model"))
    found = encode(encoder, documents, tmp_path / "t.bin", tmp_path / "i.parquet")
    assert found.losses == {"checked": 21, "lossy": 20, "line breaks": 20, "unknown": 20}
    assert found.facts["encoder"].startswith("sentencepiece") and found.facts["encoder_why"]
