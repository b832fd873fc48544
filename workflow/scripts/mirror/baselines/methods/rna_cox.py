"""Cox regression on the fold's standardised genes."""

from __future__ import annotations

from ...heads.elastic_cox import ElasticCoxHead
from ...targets.survival import outcome_of
from ..fold_data import FoldData, Patients
from ..method import LinearMethod
from ..registry import baseline


@baseline(
    "rna_cox",
    kinds=("survival",),
    modality="rna",
    description="elastic-net Cox regression on genes",
    title="RNA Cox",
    order=30,
    heads={"coxnet": "elastic net"},
)
class RnaCox(LinearMethod):
    """Two heads: elastic net (Coxnet), penalties weighted inside the training patients; and the ridge of embeddings.

    The second is the ``cox`` head that frozen embeddings get, here on the genes themselves, so that an encoder is
    compared with its input under one head.
    """

    def features(self, patients: Patients):
        """Genes."""
        return patients.rna()

    def scaling(self, fold: FoldData):
        """Clipped."""
        return fold.clipped

    def fit(self, fold: FoldData) -> RnaCox:
        """See `Method.fit`."""
        x, table = self.features(fold.training)
        settings, ratios = fold.settings, tuple(fold.settings.baseline.cox_l1_ratio)
        net = ElasticCoxHead(settings.survival, settings.probe, fold.seed, fold.clipped, ratios)
        y = outcome_of(table)
        self.heads_["coxnet"] = net.fit(x, y)
        events = int(y["event"].sum())
        if events < settings.survival.min_events:
            fold.notes.append(f"coxnet: {events} training events, penalties count the same instead of being weighted")
        self._fit_head("cox", x, table, fold)
        return self
