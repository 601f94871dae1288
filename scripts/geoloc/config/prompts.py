"""Prompts: templates of the texts that a CLIP compares with an image."""

from __future__ import annotations

import re
from string import Formatter

CLIP_TOKENS = 77  # text length of every published CLIP


def prompt_mistakes(config: dict) -> list[str]:
    """Return the prompts of models that don't work as templates for a country."""
    prompts = {
        f"models.{name}.prompt": entry["prompt"]
        for name, entry in config["models"].items()
        if "prompt" in entry
    }
    mistakes = {key: prompt_mistake(prompt) or _too_long(prompt) for key, prompt in prompts.items()}
    return [f"{key}: {mistake}" for key, mistake in mistakes.items() if mistake]


def _too_long(prompt: str) -> str:
    """Say if a prompt certainly has more tokens than CLIP reads; "" if it may fit.

    The job counts with the model's own tokenizer. Here each word is at least one token, and so are
    the start and the end of the text.
    """
    tokens = len(re.findall(r"[^\W_]+", prompt.format(country="X"))) + 2
    if tokens <= CLIP_TOKENS:
        return ""
    return (
        f"the prompt {prompt[:40]!r}… has at least {tokens} tokens and CLIP reads {CLIP_TOKENS}; "
        "shorten it"
    )


def prompt_mistake(prompt: str) -> str:
    """Return what is wrong with the prompt for a country and what to write, or "".

    {country} must occur at least once, and no other field may.
    """
    remedy = "write {country} for the name of the country, and double all other braces: {{ }}"
    try:
        fields = [part[1:] for part in Formatter().parse(prompt) if part[1] is not None]
    except ValueError as error:
        return f"{prompt!r} is not a template ({error}); {remedy}"
    if not fields:
        return f"{prompt!r} does not contain {{country}}; {remedy}"
    if any(field != ("country", "", None) for field in fields):
        return f"{prompt!r} has a field other than {{country}}; {remedy}"
    return ""
