"""Hand-over to and from transformers: safetensors, config, generation config and tokenizer files of a folder.

    export_hf(Path("train/a"), Path("out"))  # AutoModelForCausalLM.from_pretrained("out"), lm_eval, vLLM
    config = read_config(Path("out")); load_weights(Path("out"), model)

Every architecture goes both ways. Its layout says which of their matrices make up one of ours; what is one
matrix here (queries, keys and values; gate and up; all experts) lies there row block by row block.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gristmill.errors import InputError, IntegrityError, UsageError
from gristmill.files.inside import read_object
from gristmill.files.stores import write_text
from gristmill.tokenizer_files import Reading
from gristmill.trainer.checkpoints.checkpoint import find
from gristmill.trainer.checkpoints.hf_tokenizer import write_tokenizer
from gristmill.trainer.config import Settings
from gristmill.trainer.evaluation.generate import load_model
from gristmill.trainer.evaluation.tokenizer import copy_tokenizer, find_tokenizer
from gristmill.trainer.model.architectures.base import MatrixPart
from gristmill.trainer.model.architectures.table import ARCHITECTURES, architecture, of_model_type
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.ranks.sharding import assign

FILE_BYTES = 5 << 30  # as transformers splits
FREE = ("context", "rope_theta", "rope_scaling", "balance_weight", "router_z_weight")  # beside `init`
BUFFERS = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")  # in files, but no weights


def export_hf(checkpoint: Path, out: Path, dtype: str = "fp32") -> Path:
    """Write a checkpoint as a Hugging Face folder; `dtype` fp32 or bf16."""
    model, meta = load_model(checkpoint, "cpu")
    out.mkdir(parents=True, exist_ok=True)
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    _write_tensors(dict(_theirs(model, kind)), out)
    write_text(out / "config.json", json.dumps(_config(model.config, meta.eos_id, kind), indent=2))
    generation = {"bos_token_id": meta.eos_id, "eos_token_id": meta.eos_id, "pad_token_id": meta.eos_id}
    write_text(
        out / "generation_config.json",
        json.dumps(generation | {"max_length": model.config.context}, indent=2),
    )
    tokenizer = find_tokenizer(find(checkpoint))
    if tokenizer is not None:
        copy_tokenizer(tokenizer, Reading.beside(tokenizer), out)
        write_tokenizer(tokenizer, out, meta.eos_id, model.config.context)
    return out


def _theirs(model: Model, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    parameters = dict(model.named_parameters())
    for name, parts in architecture(model.config).layout(model.config).items():
        matrix = parameters[name].detach()
        matrix = matrix.flatten(0, 1) if matrix.ndim == 3 else matrix
        start = 0
        for part in parts:
            rows = matrix[start : start + part.rows]
            yield part.name, ((rows.t() if part.transposed else rows) - part.offset).to(dtype).contiguous()
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
    write_text(
        out / "model.safetensors.index.json",
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2),
    )


def _config(config: ModelConfig, eos_id: int, dtype: torch.dtype) -> dict[str, Any]:
    found, kind = architecture(config), str(dtype).removeprefix("torch.")
    shared: dict[str, Any] = {
        "vocab_size": config.vocab, "bos_token_id": eos_id, "eos_token_id": eos_id,
        "pad_token_id": None,  # a padding id's embedding gets no gradient in transformers, and EOS is learned
        "tie_word_embeddings": config.tied,
        "initializer_range": 0.02, "dtype": kind, "torch_dtype": kind, "use_cache": True,
        "model_type": found.model_type, "architectures": [found.hf_class],
    }  # fmt: skip
    return shared | found.to_hf(config)


def read_config(folder: Path) -> ModelConfig:
    """Return the shape of a Hugging Face folder's model; what the model here cannot express is refused by
    name."""
    try:
        values = read_object(folder / "config.json")
    except (OSError, IntegrityError) as error:
        raise InputError(f"this is not a Hugging Face folder: {error}", where=str(folder)) from error
    kind = str(values.get("model_type"))
    found = of_model_type(kind)
    if found is None:
        known = ", ".join(known.model_type for known in ARCHITECTURES.values())
        raise InputError(
            f"a model of type {kind!r} cannot be read", where=str(folder), hint=f"these can: {known}"
        )
    if odd := found.odd(values):
        raise InputError(
            f"the model uses what this trainer does not have: {', '.join(odd)}",
            where=str(folder / "config.json"),
        )
    return found.from_hf(values)


def start_config(settings: Settings) -> tuple[ModelConfig, list[str]]:
    """Return the shape to start from a folder with, and what of it is not as the folder has it.

    Context, rotary angles and the weights of a router's losses may be others; anything else is refused by
    name.
    """
    config = read_config(Path(settings.init))
    replaced: dict[str, Any] = {}
    said = []
    for name in settings.model_given:
        has, asked = getattr(config, name), getattr(settings.model, name)
        if name == "rope_scaling" and asked.kind != "none" and not asked.original_context:
            before = config.rope_scaling.original_context or config.context
            asked = dataclasses.replace(asked, original_context=before)
        if asked == has:
            continue
        if name not in FREE:
            raise UsageError(
                f"`model.{name}` is {asked}, the model it starts from has {has}",
                where=settings.init,
                hint=f"leave it out; beside `init` these may be given: {', '.join(FREE)}",
            )
        replaced[name] = asked
        said.append(f"{name} {has} -> {asked}")
    changed = dataclasses.replace(config, **replaced)
    if architecture(config).traits.learned_positions and changed.context > config.context:
        raise UsageError(
            f"`model.context` is {changed.context}, the model it starts from has learned {config.context}"
            " positions",
            where=settings.init,
            hint=f"at most {config.context}",
        )
    if changed.context > config.context and not {"rope_theta", "rope_scaling"} & set(replaced):
        said.append(f"positions from {config.context} on are new to the model: see model.rope_scaling")
    return changed, said


def load_weights(folder: Path, model: Model) -> None:
    """Copy a Hugging Face folder's weights into a model of its shape, sharded or not.

    A weight that is missing, of another shape, or has no place in the model is refused by name. Of learned
    positions the first are taken.
    """
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError("there are no safetensors files here", where=str(folder))
    opened: list[Any] = [safe_open(str(path), framework="pt") for path in files]
    where = {name: file for file in opened for name in file.keys()}  # noqa: SIM118
    parameters = dict(model.named_parameters())
    layout = architecture(model.config).layout(model.config)
    stored_as = {part: _stored(part.name, where, folder) for parts in layout.values() for part in parts}
    _refuse_unknown(set(where) - set(stored_as.values()), where, stored_as, folder)
    for name, parts in layout.items():
        blocks = []
        for part in parts:
            tensor = where[stored_as[part]].get_tensor(stored_as[part]).float()
            tensor = (tensor.t() if part.transposed else tensor) + part.offset
            tensor = tensor[: part.rows] if name == "positions.weight" else tensor
            if tensor.shape[0] != part.rows:
                raise InputError(
                    f"the weight {part.name} has {tensor.shape[0]} rows, config.json says {part.rows}",
                    where=str(folder),
                )
            blocks.append(tensor)
        full = torch.cat(blocks)
        parameter = parameters[name]
        if parameter.shape[0] > full.shape[0] and parameter.ndim == 2:  # the padding of the vocabulary
            full = torch.cat([full, full.new_zeros(parameter.shape[0] - full.shape[0], full.shape[1])])
        if full.numel() != parameter.numel():
            raise InputError(
                f"the weights of {name} have the shape {list(full.shape)}, config.json says"
                f" {list(parameter.shape)}",
                where=str(folder),
            )
        assign(parameter, full.reshape(parameter.shape))


def _stored(name: str, where: dict[str, Any], folder: Path) -> str:
    stored = name if name in where else name.removeprefix("transformer.")
    if stored not in where:
        raise InputError(f"the weight {name} is missing", where=str(folder))
    return stored


def _refuse_unknown(
    names: set[str], where: dict[str, Any], stored_as: dict[MatrixPart, str], folder: Path
) -> None:
    """Refuse weights that nothing of the model would take; a tied head may be stored a second time."""
    odd = sorted(name for name in names if not name.endswith(BUFFERS))
    if odd == ["lm_head.weight"]:
        embed = next(
            stored
            for part, stored in stored_as.items()
            if part.name.endswith(("tokens.weight", "wte.weight"))
        )
        if torch.equal(where[odd[0]].get_tensor(odd[0]), where[embed].get_tensor(embed)):
            return
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise InputError(
            f"the folder holds weights that the model has no place for: {', '.join(odd[:3])}{more}",
            where=str(folder),
        )
