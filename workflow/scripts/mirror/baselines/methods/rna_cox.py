"""Cox regression on the fold's standardised genes."""

from __future__ import annotations

from ...heads.elastic_cox import ElasticCoxHead
from ...heads.survival import outcome
from ..fold_data import FoldData
from ..registry import baseline


@baseline("rna_cox", tasks=("survival",), modality="rna", description="elastic-net Cox regression on genes")
def fit(fold: FoldData):
    """Two heads: elastic net (Coxnet), penalties weighted inside the training patients; and the ridge of embeddings.

    The second is the ``cox`` head that frozen embeddings get, here on the genes themselves, so that an encoder is
    compared with its input under one head.
    """
    x, train, x_test, test = fold.rna()
    settings = fold.settings
    net = ElasticCoxHead(
        settings.survival, settings.probe, fold.seed, fold.clipped, tuple(settings.baseline.cox_l1_ratio)
    )
    events = int(fold.outcome(train)[1].sum())
    if events < settings.survival.min_events:
        fold.notes.append(f"coxnet: {events} training events, penalties count the same instead of being weighted")
    found = net.fit(x, outcome(*fold.outcome(train))).prediction(x_test)
    return [
        ("coxnet", fold.risk_rows(test, found.risk, found.threshold, found.times, found.survival)),
        fold.linear(x, train, x_test, test, "cox", fold.clipped),
    ]
