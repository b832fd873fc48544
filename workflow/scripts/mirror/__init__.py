"""MIRROR: from raw slides and raw RNA-seq to believable results.

The library behind the workflow's scripts. It knows nothing of Snakemake. Importing this
package imports neither torch nor scanpy, so that a DAG is built in a second.
"""

from .core.version import __version__

__all__ = ["__version__"]
