"""What an encoder that is being trained scores on real tasks: the same as its exported model would."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from runner.data.tokenizer import tokenizer_settings, training_tokenizer
from runner.data.tokens import Tokenise
from runner.model.encoder import Encoder
from runner.tasks.kinds import find_task
from runner.training.distributed import ALONE, Ranks
from runner.training.grad_cache import embed_all, split_texts
from sweeps.tasks import METRICS, parse_task, score_name
from sweeps.trial import Training


class TextEncoder:
    """An encoder that takes texts, with the calls of a SentenceTransformer that evaluators use.

    source: where its tokenizer lies. tokens: padded, that go through the encoder together. All of `ranks` must make
    the same calls.
    """

    similarity_fn_name = "cosine"
    model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_: None)  # evaluators write into a model's card

    def __init__(self, encoder: Encoder, training: Training, source: str, tokens: int, ranks: Ranks = ALONE) -> None:
        self.encoder, self.training, self.tokens, self.ranks = encoder, training, tokens, ranks
        self._tokenise = Tokenise(tokenizer_settings(training_tokenizer(source, training.pooling), training))

    def encode(self, texts: Sequence[str], **_: Any) -> Tensor:
        """Returns unit vectors [texts, dim] on the CPU, of texts without a prompt."""
        ids, lengths, _hashes = self._tokenise(list(texts))
        return embed_all(self.encoder, split_texts(ids, lengths), self.tokens, self.ranks).float().cpu()

    def encode_query(self, texts: Sequence[str], **_: Any) -> Tensor:
        """As `encode`, with the prompt of queries."""
        return self.encode([self.training.query_prompt + text for text in texts])

    def encode_document(self, texts: Sequence[str], **_: Any) -> Tensor:
        """As `encode`, with the prompt of documents."""
        return self.encode([self.training.document_prompt + text for text in texts])


def task_scores(
    encoder: Encoder, training: Training, source: str, tokens: int, ranks: Ranks = ALONE
) -> dict[str, float]:
    """Returns the main score of each of training.tasks, by the name that sweeps/tasks.py has for it.

    Raises ValueError when a task cannot be read, or the vectors give no score.
    """
    if not training.tasks:
        return {}
    encoder.eval()
    model = TextEncoder(encoder, training, source, tokens, ranks)
    scores = {}
    for text in training.tasks:
        kind, where = find_task(text)
        scores[score_name(text)] = kind.score(model, kind.read(where)).values[METRICS[parse_task(text)[0]]]
    encoder.train()
    return scores
