"""Where an encoder's weights come from: the hub, a local file or folder. Never from code in a pickle."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from safetensors import SafetensorError

from ..core.errors import InputError
from ..core.imposters import imposter
from .table import EncoderRow

if TYPE_CHECKING:
    import torch

NAMES = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_WRAPPERS = ("state_dict", "model", "teacher")
_PREFIXES = ("module.", "model.", "backbone.", "encoder.")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
_HIDDEN = "<token>"


@dataclass(frozen=True)
class Weights:
    """Weights on this machine.

    Attributes
    ----------
    file : Path
        A safetensors or PyTorch file.
    config : dict
        The ``config.json`` beside it, empty where there is none.
    """

    file: Path
    config: dict[str, Any] = field(default_factory=dict)


def redact(text: str) -> str:
    """Return ``text`` without hub tokens: what looks like one, and the value of HF_TOKEN."""
    token = os.environ.get("HF_TOKEN", "")
    if len(token) >= 4:
        text = text.replace(token, _HIDDEN)
    return _TOKEN.sub(_HIDDEN, text)


def install_redaction() -> None:
    """Take hub tokens out of every log record from now on, whichever library writes it."""
    factory = logging.getLogRecordFactory()
    if getattr(factory, "redacts", False):
        return

    def redacting(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a malformed record: logging itself reports it
            return record
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, None
        return record

    redacting.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(redacting)


def local_weights(path: str | Path) -> Weights:
    """Find the weights in a file or a folder.

    Parameters
    ----------
    path : path-like
        A checkpoint, or a folder as the hub has it: ``model.safetensors`` is taken before
        ``pytorch_model.bin``, and either before any other single checkpoint.

    Raises
    ------
    InputError
        Nothing there, or several checkpoints to choose from.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).is_file()]
        if not found:
            found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
            found = [file for file in found if file.suffix == ".safetensors"] or found
            if len(found) > 1:
                raise InputError(
                    f"{len(found)} checkpoints ({', '.join(file.name for file in found)})",
                    file=path,
                    remedy="name the file in embed: weights",
                )
        if not found:
            raise InputError(f"no checkpoint ({', '.join(_SUFFIXES)}) in this folder", file=path)
        file = found[0]
    elif path.is_file():
        file = path
    else:
        raise InputError("no checkpoint here", file=path, remedy="correct embed: weights")
    config = file.with_name("config.json")
    if not config.is_file():
        return Weights(file)
    try:
        return Weights(file, json.loads(config.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"not JSON: {error}", file=config) from error


def hub_weights(row: EncoderRow, *, refresh: bool = False) -> Weights:
    """Find the weights in the hub's cache, or fetch them.

    Parameters
    ----------
    row : EncoderRow
        The encoder.
    refresh : bool
        Ask the hub even where the cache has the weights.

    Raises
    ------
    InputError
        Gated, unknown or unreachable; says what to do. The token is read from the environment
        variable HF_TOKEN alone, and is in no message.
    """
    install_redaction()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    token = os.environ.get("HF_TOKEN") or False

    def get(name: str, local: bool) -> Path:
        return Path(
            hf_hub_download(
                row.repository,
                name,
                revision=row.revision,
                token=token,
                local_files_only=local,
                endpoint=os.environ.get("HF_ENDPOINT"),
            )
        )

    page = f"https://huggingface.co/{row.repository}"
    local = (
        f"or put the files of {page} in a folder and name it: embed: weights: {{{row.name}: /path/to/folder}} "
        "(for nodes without a network: fetch_weights on a node that has one)"
    )
    if not refresh:
        for name in NAMES:
            try:
                return local_weights(get(name, local=True))
            except LocalEntryNotFoundError:
                continue
    try:
        for name in NAMES:
            try:
                file = get(name, local=False)
            except LocalEntryNotFoundError:  # a kind of EntryNotFoundError, but means: no answer
                raise
            except EntryNotFoundError:
                continue
            with contextlib.suppress(EntryNotFoundError):
                get("config.json", local=False)
            return local_weights(file)
    except (GatedRepoError, RepositoryNotFoundError) as error:
        seen = "HF_TOKEN is not set" if not token else "the account of HF_TOKEN has no access"
        if row.gated or isinstance(error, GatedRepoError):
            problem = f"the weights of {row.name} are gated and {seen}"
            remedy = f"accept the terms at {page}, make a read token and export HF_TOKEN=...; {local}"
        else:
            problem, remedy = f"the hub has no repository {row.repository} ({seen})", f"correct timm_id; {local}"
        raise InputError(problem, row=row.name, remedy=remedy) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        detail = redact(f"{type(error).__name__}: {error}").splitlines()[0][:200]
        raise InputError(
            f"the weights of {row.name} are not in the cache and the hub cannot be reached ({detail})",
            row=row.name,
            remedy=f"fetch them where there is a network, with the same HF_HOME; {local}",
        ) from None
    raise InputError(f"{page} has neither {' nor '.join(NAMES)}", row=row.name, remedy=local[3:])


def package_weights(row: EncoderRow) -> Weights:
    """Find the weights in an installed Python package, without importing it.

    Raises
    ------
    InputError
        The package is not installed in this environment, or has no such file.
    """
    name, _, inside = row.package.partition("/")
    found = importlib.util.find_spec(name)
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (Path(folder) / inside).is_file():
            return Weights(Path(folder) / inside)
    problem = "does not contain that file" if found else "is not installed"
    raise InputError(
        f"the weights of {row.name} are {inside} of the Python package {name}, which {problem}",
        row=row.name,
        remedy="install the versions pinned in requirements.txt, or name a checkpoint: "
        f"embed: weights: {{{row.name}: /path/to/file}}",
    )


def cached_weights(row: EncoderRow) -> Weights | None:
    """Find the weights in the hub's cache without asking the hub; None where they are not."""
    from huggingface_hub import try_to_load_from_cache

    for name in NAMES:
        found = try_to_load_from_cache(row.repository, name, revision=row.revision)
        if isinstance(found, str):
            return local_weights(found)
    return None


class HubUnreachable(Exception):
    """The hub gave no answer; the text says how."""


def look_at_hub(row: EncoderRow, timeout: float = 5.0) -> int | None:
    """Ask the hub once whether the weights could be fetched, and fetch nothing.

    Parameters
    ----------
    row : EncoderRow
    timeout : float
        Seconds to wait for an answer; there is no second try.

    Returns
    -------
    int or None
        Bytes of the checkpoint, where the hub says so.

    Raises
    ------
    HubUnreachable
        No answer, or HF_HUB_OFFLINE is set.
    InputError
        Gated, or no such repository.
    """
    install_redaction()
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise HubUnreachable("HF_HUB_OFFLINE is set")
    token = os.environ.get("HF_TOKEN") or False
    page = f"https://huggingface.co/{row.repository}"
    try:
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
        found = api.model_info(row.repository, revision=row.revision, timeout=timeout, files_metadata=True)
        if row.gated:
            api.auth_check(row.repository, token=token)
    except (GatedRepoError, RepositoryNotFoundError):
        seen = "HF_TOKEN is not set" if not token else "the account of HF_TOKEN has no access"
        raise InputError(
            f"the weights of {row.name} cannot be fetched: {seen}",
            row=row.name,
            remedy=f"accept the terms at {page}, make a read token and export HF_TOKEN=...",
        ) from None
    except Exception as error:  # the client's own and its transport's, whose classes differ by version
        raise HubUnreachable(redact(f"{type(error).__name__}: {error}").splitlines()[0][:120]) from None
    sizes = {file.rfilename: file.size for file in found.siblings or []}
    return next((sizes[name] for name in NAMES if sizes.get(name)), None)


@overload
def find_weights(row: EncoderRow, local: str | Path | None = None) -> Weights: ...
@overload
def find_weights(row: EncoderRow, local: str | Path | None = None, *, download: bool) -> Weights | None: ...
def find_weights(row: EncoderRow, local: str | Path | None = None, *, download: bool = True) -> Weights | None:
    """Return where the weights of ``row`` are: ``local`` if given, else its package, the hub or its cache.

    Without ``download`` the hub is not asked, and None says that its cache lacks them.
    """
    if local:
        return local_weights(local)
    if row.weights == "package":
        return package_weights(row)
    return hub_weights(row) if download else cached_weights(row)


def load_state(file: Path) -> dict[str, torch.Tensor]:
    """Load a checkpoint's tensors on the CPU.

    Raises
    ------
    InputError
        Not a checkpoint, or a pickle that holds anything but tensors: such a file could run
        code and is refused.
    """
    import torch  # finding weights needs no torch, reading them does
    from safetensors.torch import load_file

    other = imposter(file)
    if other:
        raise InputError(other[0], file=file, remedy=other[1])
    try:
        if file.suffix == ".safetensors":
            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            "this pickle holds more than tensors and could run code; it was not loaded",
            file=file,
            remedy="convert it to safetensors where you trust its source",
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"not a checkpoint: {str(error).splitlines()[0] if str(error) else 'no bytes'}", file=file
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError("no state dict of tensors in this file", file=file)
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
