"""Settings of the model and its pre-training. The defaults are the published configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from .base import Settings
from .checks import contradiction


class ModelSettings(Settings):
    """Sizes of the two encoders."""

    embed_dim: int = Field(768, ge=8, description="Embedding width D.")
    slide_heads: int = Field(8, ge=1, description="Heads of the slide encoder's attention.")
    landmarks: int = Field(0, ge=0, description="Landmarks of the Nystroem attention; 0 takes embed_dim / 2.")
    attention: Literal["nystrom", "exact"] = Field("nystrom", description="Slide attention: as published, or exact.")
    pinv_scaling: Literal["matrix", "batch"] = Field(
        "matrix",
        description="Scale of the pseudo-inverse: a matrix at a time, or over the batch as in the reference.",
    )
    slide_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout after slide attention.")
    rna_depth: int = Field(2, ge=1, description="Transformer blocks of the RNA encoder.")
    rna_heads: int = Field(12, ge=1, description="Heads of the RNA encoder.")
    rna_mlp_ratio: float = Field(4.0, gt=0, description="Hidden width of the RNA blocks over embed_dim.")
    rna_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the RNA blocks.")
    style_dim: int = Field(128, ge=2, description="Width of the style latent.")
    style_hidden: tuple[int, int] = Field((512, 256), description="Hidden widths of the style encoder.")
    prototypes: int = Field(3000, ge=2, description="Style prototypes K.")
    tokens: int = Field(2048, ge=4, description="Patches per bag in pre-training, N.")
    input_scaling: Literal["none", "clip", "ranks"] = Field(
        "none",
        description="Robust standardisation of patch features with statistics of the fold's training slides, stored "
        "with the model: none (published), median and interquartile range with clipping, or normal scores of ranks.",
    )
    linear_skip: bool = Field(
        False,
        description="A linear map of the input (the mean patch, the genes) is added to each encoder's embedding.",
    )


class AlignmentSettings(Settings):
    """Contrastive alignment."""

    weight: float = Field(0.5, ge=0, description="Weight of the InfoNCE loss.")
    normalize: Literal["before", "clip"] = Field(
        "before", description="L2 normalisation before the projection (published) or after it (CLIP)."
    )
    init_temperature: float = Field(0.07, gt=0, description="Initial temperature.")
    mask_same_patient: bool = Field(False, description="Slides of one patient are not each other's negatives.")


class RetentionSettings(Settings):
    """Each modality must be able to rebuild itself."""

    slide_weight: float = Field(0.15, ge=0, description="Weight of slide retention.")
    rna_weight: float = Field(0.15, ge=0, description="Weight of RNA retention.")
    mask_ratio: float = Field(0.75, ge=0, lt=1, description="Share of tokens (of RNA entries) masked in the decoder.")
    rna_mask_ratio: float | None = Field(
        None, ge=0, lt=1, description="Share of RNA entries masked, where it differs; null takes mask_ratio."
    )
    target: Literal["encoder", "encoder_stopgrad", "input"] = Field(
        "encoder", description="What is rebuilt: the encoder's output (published), that without gradient, the input."
    )
    decode_from: Literal["tokens", "embedding"] = Field(
        "tokens", description="Rebuilt from masked tokens (published) or from the embedding alone (mirror_plus)."
    )
    slide_summary: Literal["mean", "mean_std", "quantiles", "tokens"] = Field(
        "mean",
        description="What the slide embedding rebuilds: the bag's mean, mean and spread, quantiles, "
        "or masked tokens from embedding and place (decode_from: embedding).",
    )
    decoder: Literal["linear", "mlp"] = Field(
        "mlp", description="Decoder from the embedding: one linear layer, or one hidden layer (decode_from: embedding)."
    )
    slide_input_mask: float = Field(
        0.0, ge=0, lt=1, description="Share of a bag's tokens hidden from the encoder in training (input masking)."
    )
    slide_feature_mask: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the features hidden from the encoder in training (input masking) of a bag of one "
        "patch, or of equal patches, of which slide_input_mask hides nothing.",
    )
    rna_input_mask: float = Field(
        0.0, ge=0, lt=1, description="Share of genes hidden from the encoder in training (input masking)."
    )
    slide_depth: int = Field(1, ge=1, description="Attention layers of the slide decoder (decode_from: tokens).")
    rna_depth: int = Field(1, ge=1, description="Blocks of the RNA decoder (decode_from: tokens).")
    orthogonality_weight: float = Field(
        0.0, ge=0, description="Weight of the squared cosine between alignment embedding and retention code."
    )


class StyleSettings(Settings):
    """Style clustering."""

    style_weight: float = Field(0.1, ge=0, description="Weight of the variational bottleneck.")
    cluster_weight: float = Field(0.1, ge=0, description="Weight of the clustering loss.")
    cluster: Literal["kl", "swapped", "consensus"] = Field(
        "kl",
        description="Clustering loss: symmetric KL between prototype scores (published), or prediction of balanced "
        "assignments (Sinkhorn-Knopp): those of the other modality (swapped), or of both together (consensus).",
    )
    read_from: Literal["embedding", "alignment"] = Field(
        "embedding",
        description="What the style encoder reads: the embedding (published), or its projection into the shared space.",
    )
    temperature: float = Field(
        0.1, gt=0, description="Temperature of the cosine scores of prototypes; not for cluster: kl."
    )
    epsilon: float = Field(0.05, gt=0, description="Entropy of the balanced assignments; not for cluster: kl.")
    queue: int = Field(
        512, ge=0, description="Earlier samples that balance the assignments of a batch; not for cluster: kl."
    )


class TrainSettings(Settings):
    """Optimisation."""

    model_config = ConfigDict(serialize_by_alias=True)  # `with` is no name for an attribute

    epochs: int = Field(
        100,
        ge=0,
        description="Epochs; fixed, never chosen on the test fold. 0 takes the weights of init_from as they are.",
    )
    batch_size: int = Field(16, ge=2, description="Pairs per step.")
    accumulate: int = Field(1, ge=1, description="Steps whose gradients are added up before an update.")
    lr: float = Field(2e-5, gt=0, description="Adam's learning rate.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay (decoupled).")
    schedule: Literal["constant", "cosine"] = Field("constant", description="Learning-rate schedule.")
    warmup_epochs: float = Field(0.0, ge=0, description="Linear warm-up.")
    clip_norm: float | None = Field(None, gt=0, description="Largest gradient norm; null does not clip.")
    ema: float | None = Field(None, gt=0, lt=1, description="Decay of an average of the weights; null keeps none.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on GPUs that have it, else float16; float32 on a CPU."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where training runs.")
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of a step; null takes one for small models, else all the job has "
        "(the last digits of the weights follow the number of threads).",
    )
    workers: int = Field(2, ge=0, description="Processes that read bags where the features do not fit into cache_gb.")
    cache_gb: float = Field(4.0, ge=0, description="Memory for patch features kept between epochs, GB; all or none.")
    token_order: Literal["random", "raster"] = Field(
        "random", description="Order of a bag's tokens, in training and in encoding: drawn, or as on the slide."
    )
    encode_tokens: int = Field(
        32_768, ge=0, description="Patches per slide at most in encoding, a fixed seeded subset of more; 0 takes all."
    )
    partners: list[str] = Field(
        default_factory=list,
        alias="with",
        description="Other cohorts to learn from: all their patients are trained on besides the fold's training "
        "patients. Evaluation stays within each cohort. A cohort that names itself is passed over.",
    )
    scale: Literal["per_cohort", "fold"] = Field(
        "per_cohort",
        description="Scale of the cohorts of `with`: per_cohort standardises genes and patch features within each of "
        "them; fold scales them as the fold's training patients.",
    )
    use_unpaired: bool = Field(False, description="Training patients with one modality join retention.")
    validation_fraction: float = Field(
        0.1,
        ge=0,
        lt=0.5,
        description="Share of the training patients set aside as validation set (not trained on); 0 for none.",
    )
    save_minutes: float = Field(5.0, gt=0, description="Minutes between saved training states.")
    init_from: str | None = Field(
        None,
        description="Checkpoint to start from: one of this workflow (.safetensors) or of the reference "
        "implementation (.pth.tar). Parts of retention that it has not, or in another size, start anew.",
    )
    init_genes: str | None = Field(
        None,
        description="Its genes, one per line, in the order of its input; the reference's checkpoints do not name them.",
    )
    init_patients: str | None = Field(
        None,
        description="Patients it was trained on, one per line, for the leak audit; an empty file where none of the "
        "cohort's was. The reference's checkpoints keep no record.",
    )


class PretrainSettings(Settings):
    """One variant, complete."""

    method: Literal["mirror", "tangle"] = Field("mirror", description="mirror, or the TANGLE-style baseline.")
    model: ModelSettings = Field(ModelSettings(), description="Sizes.")
    alignment: AlignmentSettings = Field(AlignmentSettings(), description="Alignment.")
    retention: RetentionSettings = Field(RetentionSettings(), description="Retention.")
    style: StyleSettings = Field(StyleSettings(), description="Style clustering.")
    train: TrainSettings = Field(TrainSettings(), description="Optimisation.")

    @model_validator(mode="after")
    def _stands_together(self) -> PretrainSettings:
        found = contradiction(self.model_dump())
        if found:
            raise ValueError("{}: {} ({})".format(*found))
        return self
