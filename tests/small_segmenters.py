"""Small models of the segmentation architectures of transformers, with random weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    PreTrainedModel,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2ImageProcessor,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
)
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder

from geoloc.image_text.tokenizer import train_tokenizer
from geoloc.segmentation.vocabularies import vocabulary

SIDE = 128  # of the input of the small SAM 2
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def small_swin() -> SwinConfig:
    return SwinConfig(
        image_size=64, embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


def mask2former(names: Sequence[str]) -> PreTrainedModel:
    config = Mask2FormerConfig(
        backbone_config=small_swin(), feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=32, dim_feedforward=32, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, num_queries=12, **labels(names),
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config)


def oneformer(names: Sequence[str]) -> PreTrainedModel:
    config = OneFormerConfig(
        backbone_config=small_swin(), num_queries=12, text_encoder_width=16,
        text_encoder_context_length=8, text_encoder_num_layers=1, text_encoder_vocab_size=64,
        text_encoder_proj_layers=1, text_encoder_n_ctx=4, conv_dim=32, mask_dim=32, hidden_dim=32,
        encoder_feedforward_dim=32, dim_feedforward=32, encoder_layers=1, decoder_layers=3,
        num_attention_heads=2, task_seq_len=77, query_dec_layers=1, **labels(names),
    )  # fmt: skip
    return OneFormerForUniversalSegmentation(config)


def segformer(names: Sequence[str]) -> PreTrainedModel:
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 12, 16, 24],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        **labels(names),
    )
    return SegformerForSemanticSegmentation(config)


def labels(names: Sequence[str]) -> dict:
    id2label = dict(enumerate(names))
    return {"id2label": id2label, "label2id": {name: index for index, name in id2label.items()}}


BUILDERS = {"mask2former": mask2former, "oneformer": oneformer, "segformer": segformer}


def semantic_folder(folder: Path, architecture: str, vocabulary_name: str = "cityscapes") -> Path:
    """A network of that architecture with random weights, as `save_pretrained` writes it."""
    torch.manual_seed(0)
    network = BUILDERS[architecture](vocabulary(vocabulary_name)).eval()
    spread(network, 3)
    part_queries(network)
    network.save_pretrained(folder)
    processor = {"do_normalize": True, **IMAGENET}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    if architecture == "oneformer":
        train_tokenizer(["the task is semantic"]).save_pretrained(folder)
    return folder


def part_queries(network: PreTrainedModel) -> None:
    """Let queries keep what tells them apart; else all have one label and one mask."""
    scales = {
        "class_predictor": 4,
        "class_embed": 4,
        "mask_embed": 3,
        "query_transformer": 1,
        "transformer_module.decoder.layers": 0.2,
    }
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() == 2:
                weight.mul_(next((scale for part, scale in scales.items() if part in name), 1))


def sam2(seed: int = 0) -> tuple[Sam2Model, Sam2ImageProcessor]:
    """A SAM 2 whose masks differ by their point."""
    torch.manual_seed(seed)
    network = Sam2Model(Sam2Config(**sam2_parts())).eval()
    spread(network, 1)
    with torch.no_grad():
        for name, weight in network.mask_decoder.named_parameters():
            if weight.dim() == 2 and ("q_proj" in name or "k_proj" in name or "hyper" in name):
                weight.mul_(2)
            if "bias" in name:
                weight.normal_(0, 0.1)
        network.prompt_encoder.shared_embedding.positional_embedding.normal_()
        lower_logits(network.mask_decoder, 12)
    square = {"height": SIDE, "width": SIDE}
    processor = Sam2ImageProcessor(size=square, mask_size={"height": 32, "width": 32})
    return network.requires_grad_(False), processor


def lower_logits(decoder: Sam2MaskDecoder, shift: float) -> None:
    """Let only peaks exceed the threshold, so that boxes of masks differ: one channel is constant,
    and every mask has the same negative weight for it."""
    decoder.upscale_conv2.weight[:, 0], decoder.upscale_conv2.bias[0] = 0, 1
    decoder.conv_s0.weight[0], decoder.conv_s0.bias[0] = 0, 0
    for network in decoder.output_hypernetworks_mlps:
        network.proj_out.weight[0], network.proj_out.bias[0] = 0, -shift


def sam2_parts() -> dict:
    """Configurations of the parts that SAM 2 for images and for videos share."""
    backbone = Sam2HieraDetConfig(
        hidden_size=16, num_attention_heads=1, image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 2, 2, 1], embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 4, 8], window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[2], window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    return {
        "vision_config": Sam2VisionConfig(
            backbone_config=backbone,
            backbone_channel_list=[128, 64, 32, 16],
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
            fpn_hidden_size=64,
        ),
        "prompt_encoder_config": Sam2PromptEncoderConfig(
            hidden_size=64, image_size=SIDE, patch_size=16
        ),
        "mask_decoder_config": Sam2MaskDecoderConfig(
            hidden_size=64, mlp_dim=64, num_attention_heads=4, iou_head_hidden_dim=32
        ),
    }


def spread(network: PreTrainedModel, scale: float) -> None:
    """Draw the weights of products so large that outputs differ from pixel to pixel."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() >= 2 and "embed" not in name:
                weight.normal_(0, scale / weight[0].numel() ** 0.5)
