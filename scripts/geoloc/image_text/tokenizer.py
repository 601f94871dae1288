"""A tokenizer of CLIP's kind whose vocabulary is learned from the captions at hand."""

import json
from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

OPENAI_VOCABULARY = 49_408


def train_tokenizer(captions: Sequence[str], max_length: int = 77) -> CLIPTokenizer:
    """CLIP's byte-level BPE tokenizer with merges learned from the captions.

    The vocabulary is laid out like OpenAI's: 256 bytes, the same at the end of a word, merges,
    <|startoftext|>, <|endoftext|>. So any text can be written in it, if not seen then in bytes.
    """
    empty = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = empty.normalizer, empty.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    last_bytes = [f"{byte}</w>" for byte in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=49_406,
        initial_alphabet=alphabet,
        special_tokens=last_bytes,  # else numbered in random order, which decides between merges
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*alphabet, *last_bytes, *(left + right for left, right in merges)]
    tokens = list(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocabulary, merges, model_max_length=max_length)
