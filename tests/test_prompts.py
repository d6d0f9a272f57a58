"""The exact text and ids that a model is asked, in training and in scoring."""

from __future__ import annotations

import string
from pathlib import Path
from types import ModuleType

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tasks.catalog import find_task, load_problems, tasks
from tasks.errors import UserError
from tasks.prompts import chat_text, encode_prompt, prompt_text, question_text
from tasks.schema import SPLITS

EMBEDDED = Path(__file__).parent.parent / "trainer" / "policies" / "embedded"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}]{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="module")
def embedded() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(EMBEDDED)


@pytest.fixture(scope="module")
def chat() -> PreTrainedTokenizerFast:
    """Return a tokenizer like a chat model's: one token per character, and it puts <s> before every text."""
    words = ["<unk>", "<s>", "</s>", *string.printable]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=TEMPLATE,
    )


@pytest.mark.parametrize(
    ("task", "question", "text", "ids"),
    [
        ("add2", "81 + 17", "81+17=", (11, 4, 13, 4, 10, 16)),
        ("add2", "5 + 33", "5+33=", (8, 13, 6, 6, 16)),
        ("add3", "652 + 923", "652+923=", (9, 8, 5, 13, 12, 5, 6, 16)),
        ("add3", "1000 + 0", "1000+0=", (4, 3, 3, 3, 13, 3, 16)),
    ],
)
def test_golden_prompts_of_the_embedded_policy(
    embedded: PreTrainedTokenizerFast, task: str, question: str, text: str, ids: tuple[int, ...]
) -> None:
    assert prompt_text(task, question, embedded) == text
    assert encode_prompt(text, embedded) == ids


@pytest.mark.parametrize("task", [name for name, task in tasks().items() if not task.chat])
def test_the_embedded_policy_can_write_every_item(embedded: PreTrainedTokenizerFast, task: str) -> None:
    for split in SPLITS:
        for problem in load_problems(task, split):
            text = prompt_text(task, problem.question, embedded)
            assert embedded.decode(encode_prompt(text, embedded)) == text
            assert embedded.unk_token_id not in embedded.encode(problem.gold, add_special_tokens=False)


@pytest.mark.parametrize("text", ["2 + 2=", "two", "1+1=\n", "é", ""])
def test_a_prompt_that_the_tokenizer_cannot_write_is_refused(
    embedded: PreTrainedTokenizerFast, text: str
) -> None:
    with pytest.raises(UserError, match="this tokenizer cannot write it; use another task or another policy"):
        encode_prompt(text, embedded)


def test_a_task_with_chat_needs_a_chat_template(embedded: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="asks through a chat template and this tokenizer has none"):
        prompt_text("sums1", "2 - 6 =", embedded)


def test_golden_chat_prompt(chat: PreTrainedTokenizerFast) -> None:
    problem = load_problems("sums1", "test")[0]
    asked = "State the final answer to the following arithmetic problem: 2 - 6 ="
    assert question_text("sums1", problem.question) == asked
    text = prompt_text("sums1", problem.question, chat)
    assert text == f"<s>[user]{asked}\n[assistant]"
    assert text == chat_text([{"role": "user", "content": asked}], chat)


def test_no_special_token_is_added_or_doubled(chat: PreTrainedTokenizerFast) -> None:
    assert chat.encode("a").count(chat.bos_token_id) == 1  # this tokenizer would add one
    ids = encode_prompt(prompt_text("sums1", "2 - 6 =", chat), chat)
    assert ids[0] == chat.bos_token_id
    assert ids.count(chat.bos_token_id) == 1
    assert chat.eos_token_id not in ids
    assert chat.bos_token_id not in encode_prompt(prompt_text("add2", "81 + 17", chat), chat)


def test_a_task_without_chat_ignores_the_template(chat: PreTrainedTokenizerFast) -> None:
    assert not find_task("add2").chat
    assert prompt_text("add2", "81 + 17", chat) == "81+17="


def test_a_tokenizer_without_an_unknown_token(tiny: ModuleType) -> None:
    tokenizer = tiny.char_tokenizer()
    assert tokenizer.unk_token_id is None
    assert encode_prompt("1+2=", tokenizer) == tuple(tokenizer.convert_tokens_to_ids(list("1+2=")))
