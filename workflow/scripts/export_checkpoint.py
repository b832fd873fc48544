"""Write a checkpoint of this workflow in the form of MIRROR's reference implementation (.pth.tar)."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


def main(checkpoint: Path, out: Path, transform: Path | None = None) -> None:
    """Export.

    Parameters
    ----------
    checkpoint : Path
        ``results/models/{cohort}/{encoder}/{scheme}/{variant}/{fold}.safetensors``.
    out : Path
        The ``.pth.tar`` to write.
    transform : Path, optional
        The fold's ``transform_{fold}.npz``: its genes are stored, in order.

    Raises
    ------
    InputError
        A checkpoint that cannot be read, whose model the reference's form cannot hold, or a
        transform of other genes.
    """
    import torch

    from mirror.inference.encode import restore_model
    from mirror.io.checkpoints import load_checkpoint
    from mirror.model.reference import export_reference
    from mirror.rna.transform import Transform

    genes = None if transform is None else list(Transform.load(transform).genes)
    found = load_checkpoint(checkpoint, genes=genes)
    export_reference(restore_model(found, torch.device("cpu")), out, epoch=found.settings.train.epochs, genes=genes)
    print(f"{out}: variant {found.variant}, {found.n_genes} genes, features {found.feature_width} wide")


if __name__ == "__main__":
    from mirror.core.errors import InputError

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of this workflow (.safetensors)")
    parser.add_argument("out", type=Path, help="file to write (.pth.tar)")
    parser.add_argument("--transform", type=Path, help="the fold's transform_{fold}.npz, whose genes are stored too")
    given = parser.parse_args()
    try:
        main(given.checkpoint, given.out, given.transform)
    except InputError as error:
        sys.exit(str(error))
