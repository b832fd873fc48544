"""The hub: found, gated, unknown, out of reach; and tokens that stay out of every message."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from mirror.core.errors import InputError
from mirror.encoders.build import build_encoder, load_encoder
from mirror.encoders.table import EncoderRow
from mirror.encoders.weights import hub_weights, install_redaction, redact

TOKEN = "hf_abcdefghijklmnop1234"
ROW = EncoderRow(
    name="tiny",
    timm_id="hf-hub:nobody/tiny",
    architecture="vit_tiny_patch16_224",
    arguments={"img_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 24, "num_heads": 3, "num_classes": 0},
    width=24,
    input_px=32,
    licence="none",
    source="here",
    gated=True,
)


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    refuse: tuple[int, str] | None = None
    seen: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.seen.append(self.headers.get("authorization", ""))
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        if self.refuse:
            code, error = self.refuse
            self.send_response(code)
            self.send_header("X-Error-Code", error)
        elif name not in self.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_response(200)
            self.send_header("ETag", f'"{name}-1"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", str(len(self.files[name])))
            self.end_headers()
            if body:
                self.wfile.write(self.files[name])
            return
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub of our own, an empty cache, and a token in the environment."""
    from huggingface_hub import constants

    Hub.files, Hub.refuse, Hub.seen = {}, None, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_are_fetched_once_and_then_found_without_a_hub(hub: type[Hub], tmp_path: Path, name: str) -> None:
    torch.manual_seed(3)
    model = build_encoder(ROW).model
    if name.endswith("safetensors"):
        content = save(model.state_dict())
    else:
        torch.save(model.state_dict(), tmp_path / "w")
        content = (tmp_path / "w").read_bytes()
    hub.files = {name: content, "config.json": b'{"architecture": "vit_tiny_patch16_224", "model_args": {}}'}
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(load_encoder(ROW)(pixels), model(pixels))
    assert set(hub.seen) == {f"Bearer {TOKEN}"}
    asked = len(hub.seen)
    hub.refuse = (500, "")
    weights = hub_weights(ROW)
    assert weights.file.name == name and weights.config["model_args"] == {}
    assert len(hub.seen) == asked


@pytest.mark.fault(
    stage="features",
    fault="a gated encoder without access",
    sees="the page to accept the terms on, and how to give a token",
    survives="nothing has run",
)
def test_gated_without_and_with_a_token(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub.refuse = (403, "GatedRepo")
    with pytest.raises(InputError, match="gated and the account of HF_TOKEN has no access") as caught:
        load_encoder(ROW)
    text = str(caught.value)
    assert "accept the terms at https://huggingface.co/nobody/tiny" in text and "embed: weights: {tiny:" in text
    assert TOKEN not in text and "\n" not in text
    monkeypatch.delenv("HF_TOKEN")
    hub.refuse, hub.seen = (401, "GatedRepo"), []
    with pytest.raises(InputError, match=r"gated and HF_TOKEN is not set.*export HF_TOKEN"):
        load_encoder(ROW)
    assert set(hub.seen) == {""}


@pytest.mark.fault(
    stage="features",
    fault="an encoder whose repository or weights are not there",
    sees="which",
    survives="nothing has run",
)
def test_unknown_repository_and_repository_without_weights(hub: type[Hub]) -> None:
    with pytest.raises(InputError, match=r"has neither model.safetensors nor pytorch_model.bin"):
        load_encoder(ROW)
    hub.refuse = (404, "RepoNotFound")
    with pytest.raises(InputError, match=r"the hub has no repository nobody/tiny.*correct timm_id"):
        load_encoder(ROW.model_copy(update={"gated": False}))


@pytest.mark.fault(
    stage="cluster",
    fault="compute nodes that reach no hub",
    sees="to fetch the weights beforehand",
    survives="what is fetched already",
)
def test_out_of_reach_says_how_to_go_on(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the hub client's own attempts
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"not in the cache and the hub cannot be reached.*fetch_weights") as caught:
        load_encoder(ROW)
    assert TOKEN not in str(caught.value)


@pytest.mark.fault(
    stage="security",
    fault="a library that logs the HF token",
    sees="the record without it",
    survives="the token's secrecy",
)
def test_tokens_are_taken_out_of_every_log_record(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", "no-usual-form")
    install_redaction()
    with caplog.at_level(logging.INFO):
        logging.getLogger("some.library").info("sent %s and %s", TOKEN, "no-usual-form")
        logging.getLogger("some.library").info("nothing %d hidden", 1)
    assert caplog.messages == ["sent <token> and <token>", "nothing 1 hidden"]
    assert redact(f"Bearer {TOKEN}") == "Bearer <token>"
