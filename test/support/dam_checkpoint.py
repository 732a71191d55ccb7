"""Write a tiny checkpoint that the DAM server loads as it does DAM-3B-Self-Contained.

Run by the Python of the DAM environment: dam_checkpoint.py FOLDER [JSON of config values].
"""

import io
import json
import random
import shutil
import sys
from pathlib import Path

import sentencepiece
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LlamaTokenizer

LINE = "a red blue green large small smooth rough object region with sharp round edges on the"


def write_tokenizer(folder):
    random.seed(0)
    lines = [" ".join(random.choices(LINE.split(), k=9)) for _ in range(500)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=200,
        hard_vocab_limit=False,
        model_type="bpe",
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    tokenizer = LlamaTokenizer(str(folder / "tokenizer.model"), legacy=False)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def write(folder, values):
    torch.manual_seed(0)
    size = write_tokenizer(folder / "llm")
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            initializer_range=0.4,
        )
    )
    # A random model says "end" rarely: every tenth word means it here.
    llm.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=[2, *range(10, size, 10)])
    llm.half().save_pretrained(folder / "llm")
    shutil.copyfile(Path(__file__).with_name("dam_remote_code.py"), folder / "llava_llama.py")
    config = {
        "model_type": "llava_llama",
        "auto_map": {"AutoConfig": "llava_llama.TinyConfig", "AutoModel": "llava_llama.TinyModel"},
        **values,
    }
    (folder / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    write(Path(sys.argv[1]), json.loads(sys.argv[2]))
