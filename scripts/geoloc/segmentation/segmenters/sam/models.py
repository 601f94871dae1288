"""Segment Anything models by name: the published ones and the demo's small one.

Kirillov et al., "Segment Anything", ICCV 2023. All classes are those of the package
`segment_anything`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from geoloc.errors import InputError

if TYPE_CHECKING:
    from segment_anything.modeling import Sam
    from torch import nn

PUBLISHED = ("vit_b", "vit_l", "vit_h")
NAMES = (*PUBLISHED, "demo")


def build_sam(name: str, checkpoint: str | Path | None = None) -> Sam:
    """Build a SAM in evaluation mode.

    Args:
        name: `vit_b`, `vit_l`, `vit_h` or `demo`.
        checkpoint: a PyTorch file (read with `weights_only=True`) or a safetensors file, told apart
            by the suffix. None leaves the weights random.

    Raises:
        InputError: if the name is unknown.
        OSError: if the file is missing, unreadable or does not hold exactly the weights of this
            SAM, all finite.
    """
    if name not in NAMES:
        raise InputError(f"no SAM named {name!r}: choose one of {', '.join(NAMES)}")
    if name == "demo":
        sam = build_demo_sam()
    else:
        from segment_anything import sam_model_registry

        sam = sam_model_registry[name](checkpoint=None)
    if checkpoint is not None:
        from geoloc.pytorch.weights import load_weights

        remedy = (
            "set the model of the segmentation to the SAM that the file is of, or its weights to "
            f"the file of {name}; if both are right, delete the file and retrieve it again"
        )
        load_weights(sam, checkpoint, f"SAM {name}", remedy)
    return sam.eval()


def build_demo_sam() -> Sam:
    """Build a SAM of 1.5 million parameters: 320-pixel input, patches of 8, masks of 160×160.

    The published models have inputs of 1,024 pixels, patches of 16 and at least 91 million
    parameters. Here, two overlapping convolutions make the patches instead of one that doesn't
    overlap: small transformers learn from them in fewer steps (Xiao et al., "Early convolutions
    help transformers see better", NeurIPS 2021).
    """
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )
    from torch import nn

    side, patch, channels, dim = 320, 8, 96, 128
    grid = side // patch
    encoder = ImageEncoderViT(
        img_size=side,
        patch_size=patch,
        embed_dim=dim,
        depth=4,
        num_heads=4,
        mlp_ratio=4,
        out_chans=channels,
        norm_layer=nn.LayerNorm,
        use_rel_pos=False,
        window_size=8,
        global_attn_indexes=(2,),
    )
    encoder.patch_embed = _convolutions(dim)
    return Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=channels, mlp_dim=256, num_heads=2
            ),
            transformer_dim=channels,
            iou_head_depth=3,
            iou_head_hidden_dim=128,
        ),
    )


def _convolutions(dim: int) -> nn.Sequential:
    """Make overlapping patches of 8×8 pixels: (B, 3, H, W) -> (B, H/8, W/8, dim)."""
    from segment_anything.modeling.common import LayerNorm2d
    from segment_anything.modeling.image_encoder import PatchEmbed
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 48, kernel_size=4, stride=4),
        LayerNorm2d(48),
        nn.GELU(),
        PatchEmbed(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), in_chans=48, embed_dim=dim),
    )
