"""A CLIP tokenizer whose vocabulary is learned from the given captions."""

import json
from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer


def train_tokenizer(captions: Sequence[str], max_length: int = 77) -> CLIPTokenizer:
    """Train CLIP's byte-level BPE tokenizer on captions.

    The vocabulary has OpenAI's layout: 256 bytes, the same bytes at the end of a word, merges,
    <|startoftext|>, <|endoftext|>. It can encode any text; unseen words become bytes.
    """
    empty = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = empty.normalizer, empty.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    last_bytes = [f"{byte}</w>" for byte in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=49_406,
        initial_alphabet=alphabet,
        special_tokens=last_bytes,  # otherwise in random order, which decides ties
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*alphabet, *last_bytes, *(left + right for left, right in merges)]
    tokens = list(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocabulary, merges, model_max_length=max_length)
