"""Figures on the validation split: training patients that are looked at and never trained on."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ..config.pretrain import PretrainSettings
from ..core.seeds import torch_seed
from ..dataset.paired import PairedData, Pairs
from ..model.losses import compute_losses
from ..model.mirror import Mirror
from .monitor import Means, retrieval, spread, variance

log = logging.getLogger(__name__)


class Validation:
    """Computes losses, spread and retrieval on fixed bags of the validation pairs.

    Parameters
    ----------
    data : PairedData
        The fold's data.
    pairs : Pairs
        The validation pairs.
    settings : PretrainSettings
        The variant.
    seed : int
        Of the bags and of the style noise: the same in every epoch, so that epochs compare.
    device : torch.device
        Where the model is.
    precision : torch.dtype
        Of autocast.
    """

    def __init__(
        self,
        data: PairedData,
        pairs: Pairs,
        settings: PretrainSettings,
        seed: int,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.data, self.pairs, self.settings, self.seed = data, pairs, settings, seed
        self.device, self.precision = device, precision
        number = {p: i for i, p in enumerate(sorted(set(pairs.patients)))}
        self.patients = torch.tensor([number[p] for p in pairs.patients])
        if len(number) == 1:
            log.warning("the validation split holds one patient: losses, spread and retrieval are not defined")

    def __len__(self) -> int:
        return len(self.pairs)

    @torch.no_grad()
    def look(self, model: Mirror) -> dict[str, float]:
        """Figures of the model as it is; dropout is off, style noise is seeded.

        Returns
        -------
        dict
            Loss terms, ``logit_scale``, ``var_*``, ``spread_*``, and what `retrieval` gives.
        """
        assert self.data.bags is not None
        training = model.training
        model.eval()
        torch.manual_seed(torch_seed(self.seed, "watch"))
        means, size = Means(), self.settings.train.batch_size
        aligned: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for start in range(0, len(self.pairs), size):
            part = slice(start, start + size)
            slides = self.pairs.slides[part]
            bags = self.data.bags.batch(slides, self.settings.model.tokens, self.seed, "watch").to(self.device)
            rna = torch.from_numpy(self.data.rna[self.pairs.rna[part]]).to(self.device)
            with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
                output = model(bags, rna)
            losses = compute_losses(output, self.settings, patients=self.patients[part].to(self.device))
            means.add({**losses, "logit_scale": output.logit_scale}, len(slides))
            parts = (output.slide_embedding, output.rna_embedding, output.slide_alignment, output.rna_alignment)
            aligned.append(tuple(t.float().cpu() for t in parts))  # type: ignore[union-attr, arg-type]
        model.train(training)
        slide, rna, slide_aligned, rna_aligned = (torch.cat(parts) for parts in zip(*aligned, strict=True))
        found = means.result()
        if len(set(self.pairs.patients)) < 2:
            # One patient has no spread, nothing to be told from and a rank that cannot be missed: no number
            # but the scale, rather than perfect ones.
            return {"logit_scale": found["logit_scale"]}
        for modality, embedding in (("wsi", slide), ("rna", rna)):
            found[f"var_{modality}"] = float(variance(embedding))
            found[f"spread_{modality}"] = float(spread(embedding))
        # One RNA vector per patient: the first of its pairs stands for all.
        first = {p: i for i, p in reversed(list(enumerate(self.pairs.patients)))}
        people = sorted(first)
        vectors = rna_aligned[[first[p] for p in people]]
        found |= retrieval(slide_aligned.numpy(), vectors.numpy(), self.pairs.patients, people)
        return found
