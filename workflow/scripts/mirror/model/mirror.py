"""MIRROR: alignment, retention and style clustering of slides and RNA (Wang et al., IEEE TMI 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.pretrain import PretrainSettings
from . import init
from .input_scaling import InputScaling
from .masking import hide_features, hide_genes, hide_patches
from .noise import Draws, kept, mask_from_noise, uniform
from .ragged import by_length, compact, valid_rows
from .reconstruction import SUMMARY_PARTS, Standardizer, summarize
from .retention import EmbeddingRetention, EmbeddingTokenRetention, RnaTokenRetention, SlideTokenRetention
from .rna_encoder import RnaEncoder
from .slide_encoder import SlideEncoder
from .style import RNA, SLIDE, Style, StyleClustering
from .token_rows import take

LARGEST_LOGIT_SCALE = math.log(100.0)


@dataclass(frozen=True)
class Retained:
    """One modality's retention.

    Attributes
    ----------
    rebuilt, target : Tensor (B, N, W) for tokens, (B, k, W) for the masked tokens alone, (B, W) else
    mask : Tensor bool, the shape of the entries that count in the loss, or None for all
    code : Tensor (B, D)
        What the branch reads off the embedding (for the orthogonality constraint).
    """

    rebuilt: Tensor
    target: Tensor
    mask: Tensor | None
    code: Tensor


@dataclass(frozen=True)
class MirrorOutput:
    """Everything the losses need; None where a modality or a part is absent.

    Attributes
    ----------
    slide_embedding, rna_embedding : Tensor (B, D)
    slide_alignment, rna_alignment : Tensor (B, D)
        Projected; their products times ``logit_scale`` are the logits.
    slide_retention, rna_retention : Retained
    slide_style, rna_style : Style
    logit_scale : Tensor ()
        exp of the parameter.
    """

    logit_scale: Tensor
    slide_embedding: Tensor | None = None
    rna_embedding: Tensor | None = None
    slide_alignment: Tensor | None = None
    rna_alignment: Tensor | None = None
    slide_retention: Retained | None = None
    rna_retention: Retained | None = None
    slide_style: Style | None = None
    rna_style: Style | None = None


class Mirror(nn.Module):
    """The whole model.

    Parameters
    ----------
    settings : PretrainSettings
    n_genes, feature_width : int
        Genes G and width D_p of the patch features.
    """

    def __init__(self, settings: PretrainSettings, n_genes: int, feature_width: int) -> None:
        super().__init__()
        model, retention = settings.model, settings.retention
        self.settings, self.n_genes, self.feature_width = settings, n_genes, feature_width
        dim = model.embed_dim
        to_input = retention.target == "input"
        token_width = feature_width if to_input or retention.slide_summary == "tokens" else dim
        self.slide_encoder = SlideEncoder(model, feature_width)
        self.rna_encoder = RnaEncoder(model, n_genes)
        self.slide_projection = nn.Linear(dim, dim)
        self.rna_projection = nn.Linear(dim, dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / settings.alignment.init_temperature)))
        self.rna_retention: nn.Module
        self.slide_retention: nn.Module
        if retention.decode_from == "tokens":
            self.slide_retention = SlideTokenRetention(model, retention, feature_width if to_input else dim)
            self.rna_retention = RnaTokenRetention(model, retention, n_genes if to_input else dim)
        else:
            summary, kind = retention.slide_summary, retention.decoder
            self.slide_retention = (
                EmbeddingTokenRetention(dim, token_width, kind, model.tokens)
                if summary == "tokens"
                else EmbeddingRetention(dim, SUMMARY_PARTS[summary] * token_width, kind)
            )
            self.rna_retention = EmbeddingRetention(dim, n_genes if to_input else dim, kind)
        self.style = StyleClustering(model, settings.style)
        self.input_scaling = InputScaling(model.input_scaling, feature_width)
        self.patch_statistics = Standardizer(feature_width)
        self.summary_statistics = Standardizer(SUMMARY_PARTS[retention.slide_summary] * feature_width)
        self.gene_statistics = Standardizer(n_genes)
        self._initialize()

    def _initialize(self) -> None:
        init.init_slide_side(self.slide_encoder, self.slide_projection)
        if isinstance(self.slide_retention, SlideTokenRetention):
            init.init_slide_side(self.slide_retention)
        init.init_tokens(self.slide_encoder, self.rna_encoder, self.slide_retention, self.rna_retention)
        init.scale_rna_retention(self.rna_retention)
        init.init_prototypes(self.style)
        settings = self.settings
        unused = []
        if not settings.retention.slide_weight and not settings.retention.orthogonality_weight:
            unused.append(self.slide_retention)
        if not settings.retention.rna_weight and not settings.retention.orthogonality_weight:
            unused.append(self.rna_retention)
        if not settings.style.style_weight and not settings.style.cluster_weight:
            unused.append(self.style)
        for module in unused:
            module.requires_grad_(False)

    # Constraints around each optimiser step

    def before_step(self) -> None:
        """Due before every forward pass of training: prototypes are L2-normalised."""
        self.style.normalize_prototypes()

    @torch.no_grad()
    def after_step(self) -> None:
        """Due after every optimiser step: the logit scale is clamped to [0, ln 100]."""
        self.logit_scale.clamp_(0.0, LARGEST_LOGIT_SCALE)

    # Encoding

    def encode_slide(self, bags: Tensor, mask: Tensor | None = None) -> Tensor:
        """Slide embeddings (CLS).

        Parameters
        ----------
        bags : Tensor (B, N, D_p)
        mask : Tensor bool (B, N), optional
            True for rows that exist; each slide is encoded at its own length, as if alone.

        Returns
        -------
        Tensor (B, D)
        """
        return self._slide_tokens(*self._bags(self.input_scaling(bags), mask), cls_only=True)[:, 0]

    def encode_rna(self, rna: Tensor) -> Tensor:
        """RNA (B, G) to embeddings (B, D)."""
        return self.rna_encoder(rna)

    def align_slide(self, embedding: Tensor) -> Tensor:
        """Slide embeddings (B, D) in the shared space, (B, D)."""
        return self._align(self.slide_projection, embedding)

    def align_rna(self, embedding: Tensor) -> Tensor:
        """RNA embeddings (B, D) in the shared space, (B, D)."""
        return self._align(self.rna_projection, embedding)

    def slide_attention(self, bag: Tensor) -> Tensor:
        """Attention of CLS to each patch of bag (N, D_p), float32 (heads, N); see `SlideEncoder.attention`."""
        return self.slide_encoder.attention(self.input_scaling(bag))

    def tile_prototypes(self, bag: Tensor, chunk: int = 4096) -> Tensor:
        """Prototype scores (N, K) of every patch of bag (N, D_p), from the mean of its style."""
        tokens = self.slide_encoder(self.input_scaling(bag)[None])[0, 1:]
        zero = tokens.new_zeros(1)
        return torch.cat([self.slide_style(part, zero).scores for part in tokens.split(chunk)])

    def slide_style(self, embedding: Tensor, noise: Tensor | None = None) -> Style:
        """Style of slide embeddings (..., D); ``noise`` as for `StyleClustering`."""
        aligned = self.settings.style.read_from == "alignment"
        return self.style(self.align_slide(embedding) if aligned else embedding, noise, SLIDE)

    def rna_style(self, embedding: Tensor, noise: Tensor | None = None) -> Style:
        """Style of RNA embeddings (..., D); ``noise`` as for `StyleClustering`."""
        aligned = self.settings.style.read_from == "alignment"
        return self.style(self.align_rna(embedding) if aligned else embedding, noise, RNA)

    def _align(self, projection: nn.Linear, embedding: Tensor) -> Tensor:
        if self.settings.alignment.normalize == "before":
            return projection(F.normalize(embedding, dim=-1))
        return F.normalize(projection(embedding), dim=-1)

    @staticmethod
    def _bags(bags: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if mask is None or bool(mask.all()):
            return bags, None
        return compact(bags, mask)

    def _slide_tokens(self, bags: Tensor, lengths: Tensor | None, cls_only: bool) -> Tensor:
        """(B, 1 + N, D), or (B, 1, D) where nothing reads the tokens."""
        encoder = self.slide_encoder.embedding if cls_only else self.slide_encoder
        return by_length(encoder, lengths, bags, longest=bags.shape[1], fixed=cls_only)

    # Statistics of the input

    def set_input_statistics(
        self,
        feature_mean: Tensor,
        feature_std: Tensor,
        summary_mean: Tensor | None = None,
        summary_std: Tensor | None = None,
    ) -> None:
        """Take the statistics that standardise retention's input targets, fitted on training patients.

        Parameters
        ----------
        feature_mean, feature_std : Tensor (D_p,)
            Of patch features.
        summary_mean, summary_std : Tensor (parts * D_p,), optional
            Of bag summaries over slides (`mirror.model.reconstruction.bag_statistics`). Bag means vary
            less than patches, so that without these the slide target is small.
        """
        self.patch_statistics.set(feature_mean, feature_std)
        parts = self.summary_statistics.mean.numel() // self.feature_width
        kind = self.settings.retention.slide_summary
        if summary_mean is not None and summary_std is not None:
            self.summary_statistics.set(summary_mean, summary_std)
        elif kind == "mean_std":
            std = torch.as_tensor(feature_std)
            self.summary_statistics.set(torch.cat([torch.as_tensor(feature_mean), std]), std.repeat(2))
        else:
            mean, std = torch.as_tensor(feature_mean), torch.as_tensor(feature_std)
            self.summary_statistics.set(mean.repeat(parts), std.repeat(parts))

    # The training pass

    def forward(
        self,
        bags: Tensor | None = None,
        rna: Tensor | None = None,
        draws: Draws | None = None,
        mask: Tensor | None = None,
        everything: bool = False,
    ) -> MirrorOutput:
        """All outputs that the losses need.

        Parameters
        ----------
        bags : Tensor (B, N, D_p), optional
            None where slides are missing: only RNA's parts come back.
        rna : Tensor (B, G), optional
            Row i belongs to bag i.
        draws : Draws, optional
            Noise to use instead of drawing it.
        mask : Tensor bool (B, N), optional
            Rows of the bags that exist.
        everything : bool
            Compute also the parts whose weight is zero.

        Returns
        -------
        MirrorOutput
        """
        draws = draws or Draws()
        weights, style = self.settings.retention, self.settings.style
        with_style = everything or style.style_weight > 0 or style.cluster_weight > 0
        share = float(self.training)  # nothing is hidden outside training
        parts: dict[str, Tensor | Retained | Style] = {}
        if bags is not None:
            bags = self.input_scaling(bags)
            shown = hide_features(bags, mask, share * weights.slide_feature_mask, draws.slide_features)
            seen, lengths = self._bags(*hide_patches(shown, mask, share * weights.slide_input_mask, draws.slide_input))
            retain = everything or weights.slide_weight > 0 or weights.orthogonality_weight > 0
            summary_of_input = weights.target == "input" or weights.slide_summary == "tokens"
            reads_tokens = weights.decode_from == "tokens" or not summary_of_input
            tokens = self._slide_tokens(seen, lengths, cls_only=not (retain and reads_tokens))
            embedding = tokens[:, 0]
            parts["slide_embedding"] = embedding
            parts["slide_alignment"] = self.align_slide(embedding)
            if retain:
                parts["slide_retention"] = (
                    self._retain_from_tokens(tokens, embedding, seen, lengths, draws, whole=everything)
                    if weights.decode_from == "tokens"
                    else self._retain_from_embedding(tokens, lengths, bags, mask, draws)
                )
            if with_style:
                parts["slide_style"] = self.slide_style(embedding, draws.slide_style)
        if rna is not None:
            embedding = self.encode_rna(hide_genes(rna, share * weights.rna_input_mask, draws.rna_input))
            parts["rna_embedding"] = embedding
            parts["rna_alignment"] = self.align_rna(embedding)
            if everything or weights.rna_weight > 0 or weights.orthogonality_weight > 0:
                source = parts.get("slide_embedding") if self.settings.method == "tangle" else embedding
                if isinstance(source, Tensor):
                    parts["rna_retention"] = self._retain_rna(source, embedding, rna, draws)
            if with_style:
                parts["rna_style"] = self.rna_style(embedding, draws.rna_style)
        if self.training and bags is not None and rna is not None:  # the queue holds pairs
            for modality, name in enumerate(("slide_style", "rna_style")):
                if isinstance(style_of := parts.get(name), Style):
                    parts[name] = self.style.remember(style_of, modality)
        return MirrorOutput(logit_scale=self.logit_scale.exp(), **parts)  # type: ignore[arg-type]

    def _retain_from_tokens(
        self, tokens: Tensor, embedding: Tensor, seen: Tensor, lengths: Tensor | None, draws: Draws, whole: bool
    ) -> Retained:
        """As published; ``seen`` are the bags that the encoder saw. ``whole`` rebuilds also what no loss reads."""
        settings, n = self.settings.retention, seen.shape[1]
        self._check_places(n)
        valid = None if lengths is None else valid_rows(lengths, n)
        masked = mask_from_noise(uniform(draws.slide_mask, seen, seen.shape[:2]), settings.mask_ratio, valid)
        code, visible = self.slide_retention.code(embedding), kept(settings.mask_ratio, n)  # type: ignore[operator]
        if whole or lengths is not None or visible == n:
            target = self.patch_statistics(seen) if settings.target == "input" else self._target(tokens[:, 1:])
            return Retained(by_length(self.slide_retention, lengths, tokens, masked, longest=n), target, masked, code)
        places = masked.to(torch.uint8).argsort(dim=1, stable=True)
        shown, hidden = places[:, :visible], places[:, visible:]
        known, others = take(tokens, F.pad(places + 1, (1, 0))).tensor_split([visible + 1], 1)
        target = self.patch_statistics(take(seen, hidden)) if settings.target == "input" else self._target(others)
        return Retained(self.slide_retention.masked_alone(known, shown, hidden), target, None, code)  # type: ignore[operator]

    def _retain_from_embedding(
        self, tokens: Tensor, lengths: Tensor | None, bags: Tensor, mask: Tensor | None, draws: Draws
    ) -> Retained:
        """From CLS alone, aiming at the whole bag (input masking does not reach the target)."""
        settings, embedding = self.settings.retention, tokens[:, 0]
        code = self.slide_retention.code(embedding)  # type: ignore[operator]
        if settings.slide_summary == "tokens":
            self._check_places(bags.shape[1])
            noise = uniform(draws.slide_mask, bags, bags.shape[:2])
            masked = mask_from_noise(noise, settings.mask_ratio, mask)
            return Retained(self.slide_retention(embedding, bags.shape[1]), self.patch_statistics(bags), masked, code)
        if settings.target == "input":
            target = self.summary_statistics(summarize(bags.float(), settings.slide_summary, mask))
        else:
            valid = None if lengths is None else valid_rows(lengths, tokens.shape[1] - 1)
            target = self._target(summarize(tokens[:, 1:], settings.slide_summary, valid))
        return Retained(self.slide_retention(embedding), target, None, code)

    def _retain_rna(self, source: Tensor, embedding: Tensor, rna: Tensor, draws: Draws) -> Retained:
        settings = self.settings.retention
        to_input = settings.target == "input"
        target = self.gene_statistics(rna) if to_input else self._target(embedding)
        code = self.rna_retention.code(source)  # type: ignore[operator]
        if settings.decode_from == "embedding":
            return Retained(self.rna_retention(source), target, None, code)
        ratio = settings.mask_ratio if settings.rna_mask_ratio is None else settings.rna_mask_ratio
        masked = mask_from_noise(uniform(draws.rna_mask, source, source.shape), ratio)
        # Masked are entries of the embedded vector; genes, where they are the target, all count.
        return Retained(self.rna_retention(source, masked), target, None if to_input else masked, code)

    def _check_places(self, n: int) -> None:
        """Retention of tokens has a learned vector a place; encoding has none, and takes bags of any size."""
        if n > self.settings.model.tokens:
            places = self.settings.model.tokens
            raise ValueError(f"retention has {places} places, the bag {n} patches: raise model.tokens")

    def _target(self, x: Tensor) -> Tensor:
        return x if self.settings.retention.target == "encoder" else x.detach()


def build_model(settings: PretrainSettings, n_genes: int, feature_width: int) -> Mirror:
    """A freshly initialised model; seed torch's generator before.

    Parameters
    ----------
    settings : PretrainSettings
    n_genes, feature_width : int
        Genes G and width D_p of the patch features.

    Raises
    ------
    InputError
        Sizes that do not fit each other.
    """
    return Mirror(settings, n_genes, feature_width)
