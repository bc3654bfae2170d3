"""Topics that documents show by themselves: hashed TF-IDF, SVD, k-means begun from merged fine clusters.

    card = learn(settings, sample, folder, seed)  # a table of `id`, `text`, `language`; writes the model
    topics = open_topics(settings, place)         # that folder, or a fastText model whose labels are topics
    numbers, scores = topics.assign(texts)        # score: how clear the choice was, in [0, 1]

k-means for a few clusters falls into another optimum with each sample. So mini-batch k-means finds many fine
clusters, these are merged two by two where the sum of squares grows least, and k-means begins from what is
left: what it comes to then depends little on the sample or the seed, where the number of topics suits the
documents. `choose` measures that, by halves of the sample.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import types

from gristmill.arrays import read_array, write_array
from gristmill.cards import damaged_card, damaged_model, whole_number
from gristmill.classifiers.quality.lines import prepare
from gristmill.classifiers.topics.settings import TopicSettings
from gristmill.classifiers.topics.telling_words import named, telling_words
from gristmill.errors import InputError, UsageError
from gristmill.fasttext_model import label_probabilities, open_model
from gristmill.files.inside import read_object
from gristmill.hashing import keyed_hash
from gristmill.text.embedding import Counted, Space, count_words, fit
from gristmill.text.kernel import kernel

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CARD, SPACE, CENTRES = "topics.json", "space.bin", "centres.f4"
OTHER = "other"  # of a document without a known word
BITS = 18  # of a word's hash
NUMBERS = (4, 6, 8, 10, 12, 16, 20, 24, 32, 48)  # tried where the number of topics is left open
_LABEL = "__label__"
_HALVINGS = (
    5  # ways to cut the sample in two: an end that a fifth of halves come to is met by 9 in 10 samples
)
_PER_CLUSTER = 8  # documents of the sample for each fine cluster, at least
_LANGUAGE_DOCUMENTS = 100  # of the sample, for a language's own frequent words to be left out
_MATRIX = types.Array(types.float32, 2, "C", readonly=True)
_PLACES, _MARGINS = types.Array(types.int64, 1, "C"), types.Array(types.float32, 1, "C")


class Topics(Protocol):
    """Something that tells topics."""

    names: list[str]

    def assign(self, texts: pa.ChunkedArray) -> tuple[Ints, Floats]:
        """Return the number of each text's topic among `names`, -1 where nothing is known of it, and the
        clearness of the choice."""


def learn(settings: TopicSettings, sample: pa.Table, folder: Path, seed: int) -> dict[str, Any]:
    """Learn topics from a sample of documents and write the model; return its card.

    The sample's order does not matter. Raises InputError for a sample that is too small for its topics.
    """
    order = np.argsort(keyed_hash(seed, "topics.order", sample["id"].combine_chunks()), kind="stable")
    sample = sample.take(pa.array(order))
    texts = window(sample["text"], settings)
    counted, languages = count_words(texts, BITS), _languages(sample)
    number, stability = choose(settings, counted, languages, seed)
    learned = _learned(settings, counted, languages, seed, number)
    space, centres = learned.space, _centres(learned, number)
    topics, _ = _assign(space.project(counted), centres)
    words = telling_words(space, counted, texts, topics, number)
    known = topics >= 0
    sizes = np.bincount(topics[known], minlength=number)
    card = {
        "topics": [
            {"name": name, "words": own, "share": float(size / max(1, len(topics)))}
            for name, own, size in zip(named(words), words, sizes.tolist(), strict=True)
        ],
        "documents": len(topics),
        "words": len(space.features),
        "window_chars": settings.window_chars,
        "stability": stability.get(number),
        "stability_by_number": {str(each): value for each, value in stability.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    space.save(folder / SPACE)
    write_array(folder / CENTRES, centres.astype("<f4"))
    (folder / CARD).write_text(json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return card


def window(texts: pa.ChunkedArray, settings: TopicSettings) -> pa.Array:
    """What is read of each text: its beginning."""
    flat = pc.fill_null(texts, "").combine_chunks()
    return pc.utf8_slice_codeunits(flat, 0, settings.window_chars)


class _Learned(NamedTuple):
    """A space, the points in it of the texts it was learned from, and fine clusters of these (centres and
    sizes), found several times."""

    space: Space
    points: Floats
    fine: list[tuple[npt.NDArray[Any], Ints]]


def _learned(settings: TopicSettings, counted: Counted, languages: Ints, seed: int, number: int) -> _Learned:
    """Learn a space from texts, and fine clusters, enough of them for `number` topics."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    num_texts = len(counted.rows) - 1
    space = fit(
        counted,
        BITS,
        settings.dimensions,
        seed,
        min_documents=settings.min_documents,
        max_fraction=settings.max_fraction,
        groups=languages,
        min_group=_LANGUAGE_DOCUMENTS,
    )
    points = space.project(counted)
    points = points[points.any(axis=1)]
    if len(points) < number * _PER_CLUSTER:
        raise InputError(
            f"{number} topics need {number * _PER_CLUSTER:,} documents with words that others have, too; of"
            f" {num_texts:,} there are {len(points):,}",
            hint="ask for fewer topics with `topics.number`, or learn from more documents",
        )
    num_fine = max(number, min(settings.fine_clusters, len(points) // _PER_CLUSTER))
    fine = []
    with threadpool_limits(1):  # sums of several threads differ from run to run
        for start in range(settings.restarts):
            state = (seed + 1009 * start) % (1 << 32)
            found = MiniBatchKMeans(num_fine, n_init=1, batch_size=4096, max_iter=50, random_state=state).fit(
                points
            )
            fine.append((np.asarray(found.cluster_centers_), np.bincount(found.labels_, minlength=num_fine)))
    return _Learned(space, points, fine)


def _centres(learned: _Learned, number: int) -> Floats:
    """The centres of so many topics, the largest first: those of the beginning that came to the least sum of
    squares."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        begins = [merged(centres, sizes, number).astype(np.float32) for centres, sizes in learned.fine]
        ended = [KMeans(number, init=begin, n_init=1).fit(learned.points) for begin in begins]
    found = min(ended, key=lambda one: one.inertia_)
    order = np.argsort(-np.bincount(found.labels_, minlength=number), kind="stable")
    return np.ascontiguousarray(found.cluster_centers_[order], np.float32)


def choose(
    settings: TopicSettings, counted: Counted, languages: Ints, seed: int
) -> tuple[int, dict[int, float]]:
    """The number of topics, and how stable each number tried is.

    The sample, in an order drawn by hash, is cut in halves in several ways. Each half learns by itself and
    tells the topics of all documents; the stability is the least adjusted Rand index of any two of them:
    where k-means has two ends that are as good, some half comes to the other one, and one pair of halves may
    miss it. Left open, the number is the largest that is stable by `min_stability`, else the one that is
    most; Lange et al. 2004 judge so. A sample of which a half is too small is not judged.
    """
    from sklearn.metrics import adjusted_rand_score

    num_texts = len(counted.rows) - 1
    asked = NUMBERS if settings.number == "auto" else (settings.number,)
    tried = [number for number in asked if number * _PER_CLUSTER <= num_texts // 2 // 2]
    if not tried:
        return asked[0], {}
    bits = np.arange(num_texts)[:, None] >> np.arange(_HALVINGS) & 1
    halves = [np.flatnonzero(bits[:, cut] == side) for cut in range(_HALVINGS) for side in (0, 1)]
    told: dict[int, list[Ints]] = {number: [] for number in tried}
    for half, rows in enumerate(halves):
        own = _learned(settings, _taken(counted, rows), languages[rows], seed + 1 + half, max(tried))
        points = own.space.project(counted)
        for number in tried:
            told[number].append(_assign(points, _centres(own, number))[0])
    found = {
        number: round(float(min(adjusted_rand_score(*pair) for pair in combinations(each, 2))), 4)
        for number, each in told.items()
    }
    steady = [number for number, value in found.items() if value >= settings.min_stability]
    return (max(steady) if steady else max(found, key=lambda number: (found[number], number))), found


def merged(centres: npt.NDArray[Any], sizes: Ints, number: int) -> npt.NDArray[np.float64]:
    """Merge clusters until `number` are left, each time the two by which the sum of squares grows least (Ward
    1963); return their centres."""
    centre, size = centres.astype(np.float64), sizes.astype(np.float64)
    costs = np.stack([_growth(centre, size, row) for row in range(len(centre))])
    alive = np.ones(len(centre), bool)
    for _ in range(len(centre) - number):
        first, second = sorted(int(place) for place in np.unravel_index(int(costs.argmin()), costs.shape))
        total = size[first] + size[second]
        if total:
            centre[first] = (centre[first] * size[first] + centre[second] * size[second]) / total
        size[first], alive[second] = total, False
        costs[second], costs[:, second] = np.inf, np.inf
        grown = _growth(centre, size, first)
        grown[~alive] = np.inf
        costs[first], costs[:, first] = grown, grown
    return centre[alive]


def _growth(centre: npt.NDArray[np.float64], size: npt.NDArray[np.float64], row: int) -> Any:
    """By how much the sum of squares grows when each cluster is merged with one; infinite for itself."""
    weight = size * size[row] / np.maximum(size + size[row], 1)
    grown = weight * ((centre - centre[row]) ** 2).sum(1)
    grown[row] = np.inf
    return grown


def _taken(counted: Counted, rows: Ints) -> Counted:
    """The texts of some rows."""
    sizes = np.diff(counted.rows)[rows]
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    places = np.repeat(counted.rows[rows] - ends[:-1], sizes) + np.arange(ends[-1])
    return Counted(counted.features[places], counted.counts[places], ends)


def _languages(sample: pa.Table) -> Ints:
    """A number for each document's language."""
    if "language" not in sample.schema.names:
        return np.zeros(sample.num_rows, np.int64)
    names = pc.fill_null(sample["language"], "").combine_chunks().dictionary_encode()
    return np.asarray(names.indices.to_numpy(zero_copy_only=False), np.int64)


@kernel(types.void(_MATRIX, _MATRIX, _PLACES, _MARGINS))
def _nearest(points, centres, topics, margins):  # type: ignore[no-untyped-def]
    """Find each point's nearest centre; the margin is 1 - d/d', d' being the distance to the next one."""
    for row in range(len(points)):
        best, other = np.float32(np.inf), np.float32(np.inf)
        chosen = np.int64(0)
        for number in range(len(centres)):
            distance = np.float32(0)
            for axis in range(points.shape[1]):
                difference = points[row, axis] - centres[number, axis]
                distance += difference * difference
            if distance < best:
                best, other, chosen = distance, best, np.int64(number)
            elif distance < other:
                other = distance
        topics[row] = chosen
        margins[row] = np.float32(1) - np.sqrt(best / other) if other > 0 else np.float32(0)


def _assign(points: Floats, centres: Floats) -> tuple[Ints, Floats]:
    topics, margins = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    _nearest(points, centres, topics, margins)
    unknown = ~points.any(axis=1)
    topics[unknown], margins[unknown] = -1, 0
    return topics, margins


class LearnedTopics:
    """Topics that `learn` wrote into a folder."""

    def __init__(self, folder: Path, settings: TopicSettings) -> None:
        card = read_object(folder / CARD)
        self.space = Space.load(folder / SPACE)
        self.names = _names(card, folder / CARD)
        shape = len(self.names), self.space.basis.shape[1]
        centres = read_array(folder / CENTRES, "<f4")
        if centres.size != shape[0] * shape[1]:
            raise damaged_model(
                folder / CENTRES, f"it has {centres.size:,} numbers, and {shape[0]} topics {shape[1]:,} each"
            )
        self._centres = np.ascontiguousarray(centres.reshape(shape))
        characters = whole_number(card, "window_chars", folder / CARD, 1)
        self._settings = settings.model_copy(update={"window_chars": characters})

    def assign(self, texts: pa.ChunkedArray) -> tuple[Ints, Floats]:
        return _assign(self.space.embed(window(texts, self._settings)), self._centres)


def _names(card: Mapping[str, Any], path: Path) -> list[str]:
    topics = card.get("topics")
    names = [one.get("name") if isinstance(one, dict) else None for one in topics or ()]
    if not isinstance(topics, list) or not names or not all(isinstance(name, str) for name in names):
        raise damaged_card(path, "`topics` must be a list of topics with their names", topics)
    return [str(name) for name in names]


class LabelledTopics:
    """The labels of a fastText model; the score is the probability of the label."""

    def __init__(self, path: Path, settings: TopicSettings) -> None:
        try:
            self.model = open_model(str(path))
        except ValueError as error:
            raise UsageError(f"`{path}` is not a fastText model: {error}") from error
        self._settings = settings
        self._labels = list(self.model.get_labels())
        self.names = [label.removeprefix(_LABEL) for label in self._labels]

    def assign(self, texts: pa.ChunkedArray) -> tuple[Ints, Floats]:
        places = {label: number for number, label in enumerate(self._labels)}
        lines = [prepare(text, self._settings.prepare) for text in window(texts, self._settings).to_pylist()]
        best = [label_probabilities(self.model, line, 1) if line else [] for line in lines]
        topics = [places[found[0][1]] if found else -1 for found in best]
        return np.array(topics, np.int64), np.array([f[0][0] if f else 0.0 for f in best], np.float32)


def open_topics(settings: TopicSettings, place: Path) -> Topics:
    """Open learned topics (a folder) or a fastText model (a file). Raises UsageError where there is neither,
    and for a topic to remove that it does not have."""
    if place.is_dir() and (place / CARD).is_file():
        found: Topics = LearnedTopics(place, settings)
    elif place.is_file():
        found = LabelledTopics(place, settings)
    else:
        raise UsageError(
            f"there are no topics at `{place}`",
            hint="name the folder `topics` that `gristmill classify topics` left, or a fastText model",
        )
    known: Sequence[str] = (*found.names, OTHER)
    for name in settings.remove:
        if name not in known:
            raise UsageError(
                f"`topics.remove` names the topic {name!r}, there are {', '.join(map(repr, found.names))}"
            )
    return found
