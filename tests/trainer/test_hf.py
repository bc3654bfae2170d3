"""The hand-over to transformers: equal logits, the same tokenizer, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.errors import InputError, UsageError
from gristmill.literals import closed_model
from gristmill.trainer.checkpoints.checkpoint import Checkpoints, Meta
from gristmill.trainer.checkpoints.hf import export_hf, load_weights, read_config
from gristmill.trainer.model.architectures.table import ARCHITECTURES
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.shape import ModelConfig, RopeScaling
from gristmill.trainer.ranks.parallel import Group
from gristmill.trainer.train import run

Corpus = Callable[..., Path]

SHAPES = {found.hf_class: found.example for found in ARCHITECTURES.values()}


def checkpoint(config: ModelConfig, run: Path) -> tuple[Model, Path]:
    """Return a model with every weight drawn, biases and gains too, and a checkpoint of it."""
    model = Model(config)
    init_weights(model, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    state = {f"model.{name}": tensor for name, tensor in model.named_parameters()}
    meta = Meta(1, 1, 1, config, "0" * 64, "shards", 0, 0)
    return model, Checkpoints(run, Group(0, 1, torch.device("cpu"))).save(state, meta)


@pytest.mark.parametrize("architecture", SHAPES)
@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_an_export_gives_transformers_the_same_logits(architecture: str, tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    model, folder = checkpoint(SHAPES[architecture], tmp_path / "run")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        export_hf(folder, tmp_path / "out"), dtype=torch.float32
    )
    assert type(theirs).__name__ == architecture
    tokens = torch.randint(0, 301, (3, 50), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("architecture", SHAPES)
@pytest.mark.filterwarnings("ignore")
def test_a_model_saved_by_transformers_is_read_back(architecture: str, tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    _, folder = checkpoint(SHAPES[architecture], tmp_path / "run")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        export_hf(folder, tmp_path / "out"), dtype=torch.float32
    )
    theirs.save_pretrained(tmp_path / "theirs")
    config = read_config(tmp_path / "theirs")
    assert dataclasses.replace(config, norm_eps=SHAPES[architecture].norm_eps) == SHAPES[architecture]
    model = Model(config)
    load_weights(tmp_path / "theirs", model)
    tokens = torch.randint(0, 301, (2, 40), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)


def test_a_run_starts_from_a_hugging_face_folder(corpus: Corpus, tmp_path: Path) -> None:
    shape = {"num_layers": 2, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}
    heldout = corpus("heldout", (8,), split="heldout")
    base = {
        "shards": str(corpus()),
        "heldout": str(heldout),
        "device": "cpu",
        "dtype": "fp32",
        "batch": 4,
        "steps": 5,
        "threads": 1,
    }
    first = run(base | {"run": str(tmp_path / "a"), "model": shape})
    export_hf(tmp_path / "a", tmp_path / "out")
    second = run(base | {"run": str(tmp_path / "b"), "init": str(tmp_path / "out")})
    assert second["evaluations"]["before"][-1]["nats"] == pytest.approx(
        first["evaluations"]["after"][-1]["nats"], rel=1e-6
    )


def llama(folder: Path, **how: Any) -> Any:
    """Save a small LLaMA of transformers with large weights and return it."""
    transformers: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2, **how,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model


STRETCHED = [
    {"rope_type": "linear", "factor": 2.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 1.3,
     "beta_fast": 8.0, "beta_slow": 0.5},
    {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 16, "low_freq_factor": 1.0,
     "high_freq_factor": 4.0},
]  # fmt: skip


@pytest.mark.parametrize("said", STRETCHED)
@pytest.mark.filterwarnings("ignore")
def test_stretched_rotary_angles_go_both_ways(said: dict[str, Any], tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    theirs = llama(tmp_path / "theirs", rope_parameters=said | {"rope_theta": 1e4})
    config = read_config(tmp_path / "theirs")
    model = Model(config)
    load_weights(tmp_path / "theirs", model)
    tokens = torch.randint(0, 300, (2, 60), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=2e-3, rtol=1e-3)
        assert not torch.allclose(Model(dataclasses.replace(config, rope_scaling=RopeScaling())).rotary(
            torch.arange(60)[None])[0][0], model.rotary(torch.arange(60)[None])[0][0])  # fmt: skip
    state = {f"model.{name}": tensor for name, tensor in model.named_parameters()}
    meta = Meta(1, 1, 1, config, "0" * 64, "shards", 0, 0)
    folder = Checkpoints(tmp_path / "run", Group(0, 1, torch.device("cpu"))).save(state, meta)
    back = transformers.AutoModelForCausalLM.from_pretrained(
        export_hf(folder, tmp_path / "out"), dtype=torch.float32
    )
    with torch.no_grad():
        torch.testing.assert_close(back(tokens).logits, theirs(tokens).logits, atol=2e-3, rtol=1e-3)
    assert read_config(tmp_path / "out") == config


WINDOWED = {
    "model_type": "olmo3", "vocab_size": 300, "hidden_size": 48, "intermediate_size": 96,
    "num_hidden_layers": 4, "num_attention_heads": 6, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
    "sliding_window": 16, "rope_theta": 500000,
}  # fmt: skip
YARN = {
    "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "attention_factor": 1.2079,
    "beta_fast": 32, "beta_slow": 1,
}  # fmt: skip


def test_only_full_layers_of_a_windowed_model_are_stretched_as_its_first_release_spells_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(WINDOWED | {"rope_scaling": YARN}))
    config = read_config(tmp_path)
    assert config.rope_scaling == RopeScaling("yarn", 8.0, 16, attention_factor=1.2079)
    assert [config.layer_scaling(layer).kind for layer in range(4)] == ["none"] * 3 + ["yarn"]
    model = Model(config)
    windowed, *_, full = model.rotary(torch.arange(60)[None])
    plain = Model(dataclasses.replace(config, rope_scaling=RopeScaling())).rotary(torch.arange(60)[None])
    assert windowed and full and plain[0] and torch.equal(windowed[0], plain[0][0])
    assert not torch.allclose(full[0], plain[0][0])


@pytest.mark.parametrize(
    ("windowed", "named"),
    [
        (YARN | {"rope_theta": 500000}, "rope_type yarn of windowed layers"),
        ({"rope_type": "default", "rope_theta": 10000}, "rope_theta of windowed layers"),
    ],
)
def test_windowed_layers_that_turn_otherwise_are_refused(
    windowed: dict[str, Any], named: str, tmp_path: Path
) -> None:
    kinds = {"full_attention": YARN | {"rope_theta": 500000}, "sliding_attention": windowed}
    (tmp_path / "config.json").write_text(json.dumps(WINDOWED | {"rope_parameters": kinds}))
    with pytest.raises(InputError, match=named):
        read_config(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_a_larger_base_is_exported_as_such(tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    scaled = dataclasses.replace(SHAPES["LlamaForCausalLM"], rope_scaling=RopeScaling("ntk", 4.0))
    model, folder = checkpoint(scaled, tmp_path / "run")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        export_hf(folder, tmp_path / "out"), dtype=torch.float32
    )
    tokens = torch.randint(0, 300, (2, 50), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_a_start_takes_another_context_and_refuses_another_shape(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    llama(tmp_path / "theirs", tie_word_embeddings=True)
    base = {"shards": str(corpus()), "init": str(tmp_path / "theirs"), "device": "cpu", "dtype": "fp32",
            "batch": 4, "steps": 1, "threads": 1}  # fmt: skip
    shorter = run(base | {"run": str(tmp_path / "a"), "model": {"context": 32, "num_layers": 2}})
    assert shorter["model"]["context"] == 32 and "context 64 -> 32" in capsys.readouterr().err
    longer = run(base | {"run": str(tmp_path / "b"), "model": {"context": 128}})
    assert longer["model"]["context"] == 128 and "positions from 64 on are new" in capsys.readouterr().err
    yarn = {"context": 256, "rope_scaling": {"kind": "yarn", "factor": 4}}
    stretched = run(base | {"run": str(tmp_path / "c"), "model": yarn})
    assert stretched["model"]["rope_scaling"]["original_context"] == 64
    for model in ({"num_layers": 3}, {"preset": "llama-15m"}, {"num_layers": 6, "context": 32}):
        with pytest.raises(UsageError, match=r"`model\.\w+` is .*, the model it starts from has"):
            run(base | {"run": str(tmp_path / "d"), "model": model})
    with pytest.raises(UsageError, match="needs `original_context`"):
        run(base | {"run": str(tmp_path / "d"), "model": yarn, "init": ""})


@pytest.mark.parametrize(
    "how",
    [
        {"partial_rotary_factor": 0.5},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        {"attention_bias": True},
        {"hidden_act": "gelu"},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_llama_of_another_make_is_refused_by_name(how: dict[str, Any], tmp_path: Path) -> None:
    name = "rope_type" if "rope_parameters" in how else next(iter(how))
    llama(tmp_path / "theirs", **how)
    with pytest.raises(InputError, match=name):
        read_config(tmp_path / "theirs")


@pytest.mark.parametrize(
    "how",
    [
        {"activation_function": "gelu"},
        {"activation_function": "relu"},
        {"scale_attn_by_inverse_layer_idx": True},
        {"scale_attn_weights": False},
        {"tie_word_embeddings": False},
        {},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_gpt2_of_another_make_is_refused_by_name(how: dict[str, Any], tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=300, n_embd=64, n_layer=2, n_head=4, n_positions=64, initializer_range=0.2, **how
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    if how:
        with pytest.raises(InputError, match=next(iter(how))):
            read_config(tmp_path / "theirs")
        return
    shorter = dataclasses.replace(read_config(tmp_path / "theirs"), context=32)
    model = Model(shorter)  # the first of its learned positions
    load_weights(tmp_path / "theirs", model)
    tokens = torch.randint(0, 300, (2, 32))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_weights_without_a_place_are_refused_by_name(tmp_path: Path) -> None:
    safetensors: Any = pytest.importorskip("safetensors.torch")
    llama(tmp_path / "theirs", tie_word_embeddings=True)
    file = tmp_path / "theirs" / "model.safetensors"
    tensors = safetensors.load_file(file)
    model = Model(read_config(tmp_path / "theirs"))
    tied = {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
    safetensors.save_file(tensors | tied, file)
    load_weights(tmp_path / "theirs", model)
    for odd in ({"lm_head.weight": torch.zeros(300, 64)},
                {"model.layers.0.self_attn.q_proj.bias": torch.zeros(64)}):  # fmt: skip
        safetensors.save_file(tensors | odd, file)
        with pytest.raises(InputError, match=next(iter(odd))):
            load_weights(tmp_path / "theirs", model)


def test_a_model_of_another_family_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="bert"):
        read_config(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_a_sentencepiece_model_becomes_the_same_tokenizer(tmp_path: Path) -> None:
    spm: Any = pytest.importorskip("sentencepiece")
    transformers: Any = pytest.importorskip("transformers")
    tokenizers: Any = pytest.importorskip("tokenizers")
    from gristmill.trainer.checkpoints.hf_tokenizer import write_tokenizer

    text = Path(pytest.__file__).with_name("__init__.py").read_text() + Path(dataclasses.__file__).read_text()
    (tmp_path / "text.txt").write_text(text)
    spm.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "tokenizer"), vocab_size=1000,
        model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        num_threads=1, bos_id=-1, minloglevel=2, user_defined_symbols=["\n", "<|user|>"],
    )  # fmt: skip
    whole = (tmp_path / "tokenizer.model").read_bytes()
    ours = spm.SentencePieceProcessor(model_proto=closed_model(whole, (), None))  # as shards are encoded
    assert ours.encode("<|user|>") != [ours.piece_to_id("<|user|>")]
    (tmp_path / "out").mkdir()
    write_tokenizer(tmp_path / "tokenizer.model", tmp_path / "out", ours.eos_id(), 64)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    samples = [
        *text.splitlines()[:400],
        "    indented  twice\n\tand tabs",
        "naïve café — 漢字 🙂",
        " ",
        "",
        "x" * 50,
        "a </s> b",
        "<unk> and <0x41>",
        "<|user|>hello<|user|>\n\n",
    ]
    bare = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    for sample in samples:
        assert theirs(sample, add_special_tokens=False)["input_ids"] == ours.encode(sample), sample
        assert theirs(sample)["input_ids"] == [ours.eos_id(), *ours.encode(sample)], sample
        assert bare.encode(sample, add_special_tokens=False).ids == ours.encode(sample), sample
        assert theirs.decode(ours.encode(sample)) == sample
    assert theirs.eos_token_id == ours.eos_id()


@pytest.mark.filterwarnings("ignore")
def test_a_tokenizer_of_hugging_face_keeps_its_ids_and_puts_eos_first(tmp_path: Path) -> None:
    tokenizers: Any = pytest.importorskip("tokenizers")
    transformers: Any = pytest.importorskip("transformers")
    from gristmill.trainer.checkpoints.hf_tokenizer import write_tokenizer
    from gristmill.trainer.evaluation.tokenizer import load_tokenizer

    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(
        [Path(dataclasses.__file__).read_text()], 600, special_tokens=["<|end|>", "<pad>"]
    )
    bare = tokenizers.Tokenizer.from_str(made.to_str())
    bare.enable_truncation(7)
    bare.enable_padding(length=9, pad_id=1, pad_token="<pad>")
    bare.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "out").mkdir()
    write_tokenizer(tmp_path / "tokenizer.json", tmp_path / "out", 0, 64)
    trained, theirs = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    for sample in ("a <|end|> b", "class dataclass of fields and more and more words", "", "naïve 🙂"):
        assert theirs(sample)["input_ids"] == [0, *trained.encode(sample)], sample
        assert trained.decode(trained.encode(sample)) == sample


@pytest.mark.filterwarnings("ignore")
def test_transformers_continues_a_prompt_as_generate_does(tmp_path: Path) -> None:
    spm: Any = pytest.importorskip("sentencepiece")
    transformers: Any = pytest.importorskip("transformers")
    from gristmill.trainer.evaluation.generate import Sampling, complete

    (tmp_path / "text.txt").write_text(Path(dataclasses.__file__).read_text())
    config = dataclasses.replace(SHAPES["LlamaForCausalLM"], vocab=400)
    _, folder = checkpoint(config, tmp_path / "run")
    spm.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "run" / "tokenizer"), vocab_size=400,
        model_type="bpe", byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False, num_threads=1, minloglevel=2, eos_id=0, bos_id=-1, unk_id=1,
    )  # fmt: skip
    out = export_hf(folder, tmp_path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    ids = tokenizer("def decode", return_tensors="pt").input_ids
    continued = theirs.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    ours = complete(tmp_path / "run", ["def decode"], Sampling(max_tokens=12), "cpu")
    assert tokenizer.decode(continued, skip_special_tokens=True) == ours[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_transformers_own_trainer_continues_from_an_export(tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    _, folder = checkpoint(SHAPES["LlamaForCausalLM"], tmp_path / "run")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        export_hf(folder, tmp_path / "out"), dtype=torch.float32
    )
    tokens = torch.randint(0, 301, (8, 32), generator=torch.Generator().manual_seed(4))
    rows = [{"input_ids": row, "labels": row} for row in tokens]
    arguments = transformers.TrainingArguments(
        str(tmp_path / "tuned"), max_steps=8, learning_rate=3e-3, per_device_train_batch_size=8,
        logging_steps=1, report_to=[],
        use_cpu=True, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] - 0.3
