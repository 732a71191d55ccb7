"""A LLaVA of seeded random weights and 33 words that `transformers serve` serves: 0.5 MB of disk.

What it says means nothing; architecture, files, processor and answers are real. It needs no
torchvision: its pictures are prepared by Pillow.
"""

WORDS = [
    "red", "green", "blue", "white", "dark", "small", "large", "round", "square", "shiny", "wooden",
    "metal", "glass", "cup", "bottle", "table", "chair", "wall", "floor", "lamp", "book", "box",
    "door", "window", "cloth", "leaf", "sky", "helmet", "rocket", "cat", "eye", "spoon", "saucer",
]  # fmt: skip
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
# The words of the question are unknown to it; only the picture moves its answer.
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %} "
    "{% endfor %}{% endfor %}"
)
SEED, PATCH, SIDE = 7, 14, 56


def save(folder):
    """Write the model and its processor, as `save_pretrained` does, into a folder."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    unknown, begin, end, padding, image = SPECIAL
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token=unknown,
        bos_token=begin,
        eos_token=end,
        pad_token=padding,
        additional_special_tokens=[image],
    )
    layers = {
        "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32
    }  # fmt: skip
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, **layers),
        text_config=transformers.LlamaConfig(
            vocab_size=len(vocabulary),
            num_key_value_heads=2,
            bos_token_id=vocabulary[begin],
            eos_token_id=vocabulary[end],
            pad_token_id=vocabulary[padding],
            **layers,
        ),
        image_token_index=vocabulary[image],
    )
    transformers.set_seed(SEED)
    model = transformers.LlavaForConditionalGeneration(config)
    # Else the server answers with the likeliest word over and over, whatever the temperature.
    model.generation_config.do_sample = True
    model.save_pretrained(folder)
    transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=image,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
