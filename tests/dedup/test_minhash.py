from __future__ import annotations

import numpy as np
import pytest
from datasketch import MinHash
from datasketch.lsh import _optimal_param
from pydantic import ValidationError

from gristmill.dedup.near.curve import candidate_probability, optimal_bands
from gristmill.dedup.near.fineweb import shingle_strings
from gristmill.dedup.near.minhash import band_keys, permutations, signatures
from gristmill.dedup.settings.near import FuzzySettings

SHINGLES = np.random.default_rng(7).integers(0, 1 << 63, 1003, dtype=np.uint64)
BOUNDS = np.array([0, 0, 1, 6, 1003], np.int64)


def test_affine32_is_datasketch_s_default_scheme_bit_for_bit() -> None:
    settings = FuzzySettings()
    ours = signatures(settings, SHINGLES, BOUNDS)
    folded = (SHINGLES ^ (SHINGLES >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    for doc in range(4):
        theirs = MinHash(num_perm=settings.num_hashes, hashfunc=int)
        theirs.update_batch([int(value) for value in folded[BOUNDS[doc] : BOUNDS[doc + 1]]])
        assert (ours[doc] == theirs.hashvalues).all()


@pytest.mark.parametrize("hash_name", ["sha1", "xxhash"])
def test_fineweb_mode_is_bit_equal_to_datatrove_from_the_shingle_strings_on(hash_name: str) -> None:
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.utils.hashing import HashConfig, create_hash_func

    class Words:
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

    theirs = MinhashDedupSignature.__new__(MinhashDedupSignature)
    theirs.config = MinhashConfig(
        n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(hash_fc=hash_name)
    )
    theirs.num_hashes, theirs._parameters, theirs.word_tokenizer = 112, None, Words()
    hash64 = create_hash_func(theirs.config.hash_config)
    # xxhash 4 takes bytes only; datatrove hands it a string.
    theirs._hash_func = (lambda text: hash64(text.encode())) if hash_name == "xxhash" else hash64
    text = (
        "The Mill, in 1897, ground 12.5 tons of façade-grade flour; nobody knew why. Ten men worked there"
        " until Monday."
    )
    settings = FuzzySettings(scheme="fineweb", fineweb_hash=hash_name)
    assert (settings.bands, settings.rows) == (14, 8)
    shingles, bounds = shingle_strings(settings, [text, "too short a text"])
    assert shingles[: bounds[1]].tolist() == theirs.get_shingles(text).ravel().tolist()
    assert bounds[1] == bounds[2]
    with np.errstate(over="ignore"):
        expected = np.concatenate(theirs.get_signature(theirs.get_shingles(text)))
    assert (signatures(settings, shingles, bounds)[0] == expected).all()


def test_permutations_depend_on_the_seed_alone() -> None:
    assert (permutations("affine32", 8, 1)[0] == permutations("affine32", 16, 1)[0][:8]).all()
    assert (permutations("affine32", 8, 1)[0] != permutations("affine32", 8, 2)[0]).any()


def test_a_band_key_tells_bands_and_scopes_apart() -> None:
    settings = FuzzySettings(bands=2, rows=2)
    same = np.full((2, 4), 7, np.uint32)
    keys = band_keys(settings, same, np.array([0, 1], np.uint64))
    assert len(set(keys.ravel().tolist())) == 4
    assert (
        band_keys(settings, same, np.zeros(2, np.uint64))[0]
        == band_keys(settings, same, np.zeros(2, np.uint64))[1]
    ).all()


@pytest.mark.parametrize(("threshold", "hashes"), [(0.8, 64), (0.5, 30)])
def test_bands_for_a_threshold_are_datasketch_s(threshold: float, hashes: int) -> None:
    assert optimal_bands(threshold, hashes) == _optimal_param(threshold, hashes, 0.5, 0.5)


def test_the_default_curve_is_the_published_one() -> None:
    assert round(candidate_probability(0.8, 26, 11), 3) == 0.903
    assert round(candidate_probability(0.6, 26, 11), 3) == 0.090
    assert round(candidate_probability(0.8, 14, 8), 3) == 0.924


def test_settings_refuse_what_cannot_be() -> None:
    with pytest.raises(ValidationError):
        FuzzySettings(threshold=1.5)
    with pytest.raises(ValidationError):
        FuzzySettings(survivor="first")
    with pytest.raises(ValidationError):
        FuzzySettings(bamds=3)  # type: ignore[call-arg]
