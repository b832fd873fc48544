"""What the report says in words: warnings that come before any number, and the methods with this run's settings."""

from __future__ import annotations

from ..core.protocols import shots


def warnings_of(config: dict, encoders: dict, simulated: list[str], audits: dict[str, dict]) -> list[str]:
    """What must be said before any number."""
    out = []
    if simulated:
        out.append(
            f"Simulated data: {', '.join(simulated)}. Slides, expression and outcomes were drawn from known factors; "
            "the figures below show that the workflow runs, and say nothing about patients."
        )
    random = [name for name, row in encoders.items() if row.get("weights") == "random"]
    if random:
        out.append(
            f"Untrained patch features: {', '.join(random)} has random weights. Slides carry less information through "
            "it than through a trained encoder, so slide and fused figures are lower bounds."
        )
    if config["rna"]["selection"]["method"] == "published":
        out.append("LEAKING: genes were selected the published way, with labels of test patients.")
    for name, audit in audits.items():
        for check in audit["checks"]:
            if not check["passed"] and check.get("allowed"):
                out.append(f"LEAK ALLOWED in {name}: {check['name']}. Reason given: {check.get('reason')}.")
    return out


def slides_text(config: dict) -> list[str]:
    """Where patch features came from, for each way in which a cohort of this run got them."""
    tile, preset = config["slides"]["tile"], config["slides"]["preset"]
    size = (
        "512 px at 20x, as published"
        if preset == "published"
        else f"{tile['size_px']} px at {tile['mpp']} um per pixel"
    )
    imported = {
        name: [f"{f['encoder']} ({f['width']} wide, {f['format']})" for f in cohort["features"]]
        for name, cohort in config["cohorts"].items()
        if cohort["features"]
    }
    cut = [n for n, c in config["cohorts"].items() if (c["samples"] or c["simulate"]) and n not in imported]
    out = []
    if cut:
        whose = f" of {', '.join(cut)}" if imported else ""
        out.append(f"Slides{whose} were cut into tiles ({size}) and encoded by {', '.join(config['encoders'])}.")
    for names in dict.fromkeys(tuple(found) for found in imported.values()):
        whose = ", ".join(cohort for cohort, found in imported.items() if tuple(found) == names)
        out.append(f"Patch features of {whose} were made elsewhere and imported: {', '.join(names)}.")
    return out


def _grid(values: list[float]) -> str:
    """A penalty, or the grid it was chosen from."""
    text = ", ".join(f"{value:g}" for value in values)
    return f"C = {text}, fixed" if len(values) == 1 else f"chosen among C = {text}"


def _shots(k: int | list[int]) -> str:
    """The number of shots, or several."""
    every = shots(k)
    if len(every) == 1:
        return str(every[0])
    return f"{', '.join(map(str, every[:-1]))} and {every[-1]} (nested draws)"


def methods_text(config: dict) -> list[str]:
    """The methods in words, with the settings of this run."""
    model, train = config["pretrain"]["model"], config["pretrain"]["train"]
    probe, few = config["evaluation"]["probe"], config["evaluation"]["fewshot"]
    schemes = "; ".join(
        "{}: {} folds, {} repeats, {}".format(name, s["folds"], s["repeats"], s["kind"])
        + (f", for {', '.join(s['cohorts'])}" if s.get("cohorts") else "")
        for name, s in config["splits"].items()
    )
    unscored = [name for name, cohort in config["cohorts"].items() if not cohort.get("evaluate", True)]
    whole = f" {', '.join(unscored)}: no folds, models or results of its own." if unscored else ""
    statistics = config["evaluation"]["statistics"]
    pairs = "; ".join(f"{t['source']} to {t['target']}" for t in config["evaluation"]["transfer"])
    transfer = (
        f"Zero-shot transfer of risk ({pairs}): the source's gene selection, scaling, model and survival head of each "
        "fold, all fitted on its training patients, were applied to the target's patients as they are."
    )
    expression = (
        "Expression was normalised a sample at a time; genes were chosen "
        f"({config['rna']['selection']['method']}) and standardised inside each fold, on its training patients alone."
    )
    return [
        " ".join([*slides_text(config), expression]),
        f"Folds are by patient ({schemes}), seed {config['seed']}, and the same for every method.{whole}",
        f"MIRROR was pre-trained on each fold's training patients for {train['epochs']} epochs (width "
        f"{model['embed_dim']}, {model['tokens']} tiles a bag, batch {train['batch_size']}, learning rate "
        f"{train['lr']:g}); the number of epochs was fixed beforehand. Embeddings of all tiles were computed once and "
        f"probed by a linear model ({probe['solver']}), its penalty chosen on an inner split of the training patients.",
        f"Few-shot: {_shots(few['k'])} training patients per class, or per time bin (half with an event, half "
        f"without), {few['draws']} draws without replacement, the same for every method; penalty {_grid(few['C'])}. "
        f"Survival: {config['evaluation']['survival']['bins']} time bins at quantiles of the training patients' event "
        "times; risk groups by the training median; one risk per patient.",
        f"Intervals: {statistics['level']:.0%}, {statistics['bootstrap']} bootstrap resamples of the test patients, "
        f"joined with {statistics['refits']} refits of the linear heads on resampled training patients; where a model "
        "is not refitted, the interval over test patients is widened by the square root of two, as are those of "
        "accuracy, F1, kappa and the Brier score, because a refit keeps the penalty, and few-shot intervals, because "
        "the draws share one training set. Ranking metrics compare patients "
        "of one fold only. Tests: one family per target and patch encoder, the primary metric (AUROC, C-index) of one "
        "pre-declared row per method, all pairs, Holm's correction.",
        *([transfer] if pairs else []),
    ]
