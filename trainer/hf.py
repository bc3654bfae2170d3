"""Hand-over to and from transformers: safetensors, config, generation config and tokenizer files of a folder.

    export_hf(Path("train/a"), Path("out"))  # AutoModelForCausalLM.from_pretrained("out"), lm_eval, vLLM
    config = read_config(Path("out")); load_weights(Path("out"), model)

LLaMA and Mixtral shapes and GPT-2 go both ways. One table says which of their matrices make up one of ours;
what is one matrix here (queries, keys and values; gate and up; all experts) lies there row block by row
block.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gristmill.errors import InputError
from gristmill.trainer.checkpoint import find, write_atomic
from gristmill.trainer.config import ModelConfig
from gristmill.trainer.generate import load_model
from gristmill.trainer.hf_tokenizer import write_tokenizer
from gristmill.trainer.model import Model, assign
from gristmill.trainer.tokenizer import find_tokenizer

FILE_BYTES = 5 << 30  # as transformers splits


@dataclass(frozen=True)
class Part:
    """`rows` rows of one of our matrices, under the name transformers gives them."""

    name: str
    rows: int
    transposed: bool = False  # GPT-2's Conv1D holds (in, out)


def layout(config: ModelConfig) -> dict[str, list[Part]]:
    """Return, for each of our parameters, the parts it divides into, in the order of its rows."""
    return _gpt2_layout(config) if config.kind == "gpt2" else _llama_layout(config)


def _llama_layout(config: ModelConfig) -> dict[str, list[Part]]:
    width, ffn, kv = config.width, config.ffn, config.num_kv_heads * config.head_dim
    table = {
        "embed.weight": [Part("model.embed_tokens.weight", config.vocab)],
        "norm.weight": [Part("model.norm.weight", width)],
    }
    if not config.tied:
        table["head.weight"] = [Part("lm_head.weight", config.vocab)]
    for i in range(config.num_layers):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}"
        table[f"{ours}.attention_norm.weight"] = [Part(f"{theirs}.input_layernorm.weight", width)]
        table[f"{ours}.ffn_norm.weight"] = [Part(f"{theirs}.post_attention_layernorm.weight", width)]
        rows = {"q": width, "k": kv, "v": kv}
        table[f"{ours}.attention.qkv.weight"] = [
            Part(f"{theirs}.self_attn.{x}_proj.weight", n) for x, n in rows.items()
        ]
        table[f"{ours}.attention.out.weight"] = [Part(f"{theirs}.self_attn.o_proj.weight", width)]
        if not config.num_experts:
            table[f"{ours}.ffn.up.weight"] = [
                Part(f"{theirs}.mlp.{x}_proj.weight", ffn) for x in ("gate", "up")
            ]
            table[f"{ours}.ffn.down.weight"] = [Part(f"{theirs}.mlp.down_proj.weight", width)]
            continue
        moe = f"{theirs}.block_sparse_moe"  # the names on disk; transformers v5 renames them as it loads
        experts = range(config.num_experts)
        table[f"{ours}.ffn.router.weight"] = [Part(f"{moe}.gate.weight", config.num_experts)]
        table[f"{ours}.ffn.up"] = [
            Part(f"{moe}.experts.{e}.{x}.weight", ffn) for e in experts for x in ("w1", "w3")
        ]
        table[f"{ours}.ffn.down"] = [Part(f"{moe}.experts.{e}.w2.weight", width) for e in experts]
    return table


def _gpt2_layout(config: ModelConfig) -> dict[str, list[Part]]:
    table = {
        "embed.weight": [Part("transformer.wte.weight", config.vocab)],
        "positions.weight": [Part("transformer.wpe.weight", config.context)],
    }
    maps = {
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "ffn.up": "mlp.c_fc",
        "ffn.down": "mlp.c_proj",
    }
    rows = {
        "attention.qkv": 3 * config.width,
        "attention.out": config.width,
        "ffn.up": config.ffn,
        "ffn.down": config.width,
    }
    for i in range(config.num_layers):
        ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
        for kind in ("weight", "bias"):
            for norm, name in (("attention_norm", "ln_1"), ("ffn_norm", "ln_2")):
                table[f"{ours}.{norm}.{kind}"] = [Part(f"{theirs}.{name}.{kind}", config.width)]
            for part, name in maps.items():
                table[f"{ours}.{part}.{kind}"] = [
                    Part(f"{theirs}.{name}.{kind}", rows[part], kind == "weight")
                ]
    for kind in ("weight", "bias"):
        table[f"norm.{kind}"] = [Part(f"transformer.ln_f.{kind}", config.width)]
    return table


def export_hf(checkpoint: Path, out: Path, dtype: str = "fp32") -> Path:
    """Write a checkpoint as a Hugging Face folder; `dtype` fp32 or bf16."""
    model, meta = load_model(checkpoint, "cpu")
    out.mkdir(parents=True, exist_ok=True)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    _write_tensors(dict(_theirs(model, kind)), out)
    write_atomic(out / "config.json", json.dumps(_config(model.config, meta.eos_id, kind), indent=2))
    generation = {"bos_token_id": meta.eos_id, "eos_token_id": meta.eos_id, "pad_token_id": meta.eos_id}
    write_atomic(
        out / "generation_config.json",
        json.dumps(generation | {"max_length": model.config.context}, indent=2),
    )
    tokenizer = find_tokenizer(find(checkpoint))
    if tokenizer is not None:
        shutil.copyfile(tokenizer, out / tokenizer.name)
        write_tokenizer(tokenizer, out, meta.eos_id, model.config.context)
    return out


def _theirs(model: Model, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    parameters = dict(model.named_parameters())
    for name, parts in layout(model.config).items():
        matrix = parameters[name].detach()
        matrix = matrix.flatten(0, 1) if matrix.ndim == 3 else matrix
        start = 0
        for part in parts:
            rows = matrix[start : start + part.rows]
            yield part.name, (rows.t() if part.transposed else rows).to(dtype).contiguous()
            start += part.rows


def _write_tensors(tensors: dict[str, Tensor], out: Path) -> None:
    from safetensors.torch import save_file

    files: list[dict[str, Tensor]] = [{}]
    room = FILE_BYTES
    for name, tensor in tensors.items():
        if tensor.nbytes > room and files[-1]:
            files.append({})
            room = FILE_BYTES
        files[-1][name] = tensor
        room -= tensor.nbytes
    if len(files) == 1:
        save_file(files[0], out / "model.safetensors", metadata={"format": "pt"})
        return
    names = [f"model-{i + 1:05d}-of-{len(files):05d}.safetensors" for i in range(len(files))]
    for name, part in zip(names, files, strict=True):
        save_file(part, out / name, metadata={"format": "pt"})
    index = {tensor: name for name, part in zip(names, files, strict=True) for tensor in part}
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_atomic(
        out / "model.safetensors.index.json",
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2),
    )


def _config(config: ModelConfig, eos_id: int, dtype: torch.dtype) -> dict[str, Any]:
    kind = str(dtype).removeprefix("torch.")
    shared: dict[str, Any] = {
        "vocab_size": config.vocab, "bos_token_id": eos_id, "eos_token_id": eos_id,
        "tie_word_embeddings": config.tied,
        "initializer_range": 0.02, "dtype": kind, "torch_dtype": kind, "use_cache": True,
    }  # fmt: skip
    if config.kind == "gpt2":
        return shared | {
            "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": config.width,
            "n_layer": config.num_layers,
            "n_head": config.num_heads, "n_positions": config.context, "n_inner": config.ffn,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm_eps, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
        }  # fmt: skip
    shared |= {
        "hidden_size": config.width, "intermediate_size": config.ffn, "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads, "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu", "max_position_embeddings": config.context, "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,  # transformers v4 knows this one, v5 the next
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
    }  # fmt: skip
    if config.num_experts:
        return shared | {
            "model_type": "mixtral", "architectures": ["MixtralForCausalLM"],
            "num_local_experts": config.num_experts,
            "num_experts_per_tok": config.experts_per_token, "router_aux_loss_coef": config.balance_weight,
            "sliding_window": None,
        }  # fmt: skip
    return shared | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "mlp_bias": False,
    }


def read_config(folder: Path) -> ModelConfig:
    """Return the shape of a Hugging Face folder's model; what the model here cannot express is refused by
    name."""
    try:
        values = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"this is not a Hugging Face folder: {error}", where=str(folder)) from error
    kind = values.get("model_type")
    if kind == "gpt2":
        return ModelConfig(
            "gpt2", vocab=values["vocab_size"], num_layers=values["n_layer"], width=values["n_embd"],
            num_heads=values["n_head"],
            ffn=values.get("n_inner") or 4 * values["n_embd"], context=values["n_positions"],
            norm_eps=values["layer_norm_epsilon"],
        )  # fmt: skip
    if kind not in ("llama", "mixtral"):
        raise InputError(
            f"a model of type {kind!r} cannot be read", where=str(folder), hint="llama, mixtral and gpt2 can"
        )
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    head_dim = values["hidden_size"] // values["num_attention_heads"]
    odd = {
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
        "hidden_act": values.get("hidden_act", "silu") != "silu",
        "attention_bias": bool(values.get("attention_bias")),
        "mlp_bias": bool(values.get("mlp_bias")),
        "head_dim": (values.get("head_dim") or head_dim) != head_dim,
        "sliding_window": bool(values.get("sliding_window")),
    }
    if any(odd.values()):
        names = ", ".join(name for name, is_odd in odd.items() if is_odd)
        raise InputError(
            f"the model uses what this trainer does not have: {names}", where=str(folder / "config.json")
        )
    return ModelConfig(
        vocab=values["vocab_size"], num_layers=values["num_hidden_layers"], width=values["hidden_size"],
        num_heads=values["num_attention_heads"], num_kv_heads=values.get("num_key_value_heads") or 0,
        ffn=values["intermediate_size"], context=values["max_position_embeddings"],
        tied=values.get("tie_word_embeddings", False),
        rope_theta=float(values.get("rope_theta") or rope.get("rope_theta", 10000.0)),
        norm_eps=values["rms_norm_eps"],
        num_experts=values.get("num_local_experts", 0),
        experts_per_token=values.get("num_experts_per_tok", 2),
    )  # fmt: skip


def load_weights(folder: Path, model: Model) -> None:
    """Copy a Hugging Face folder's weights into a model of its shape, sharded or not."""
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError("there are no safetensors files here", where=str(folder))
    opened: list[Any] = [safe_open(str(path), framework="pt") for path in files]
    where = {name: file for file in opened for name in file.keys()}  # noqa: SIM118
    parameters = dict(model.named_parameters())
    for name, parts in layout(model.config).items():
        blocks = []
        for part in parts:
            stored = part.name if part.name in where else part.name.removeprefix("transformer.")
            if stored not in where:
                raise InputError(f"the weight {part.name} is missing", where=str(folder))
            tensor = where[stored].get_tensor(stored).float()
            blocks.append(tensor.t() if part.transposed else tensor)
        full = torch.cat(blocks)
        parameter = parameters[name]
        if parameter.shape[0] > full.shape[0] and parameter.ndim == 2:  # the padding of the vocabulary
            full = torch.cat([full, full.new_zeros(parameter.shape[0] - full.shape[0], full.shape[1])])
        assign(parameter, full.reshape(parameter.shape))
