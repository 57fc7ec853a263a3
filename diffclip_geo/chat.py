"""Asking a language model through an OpenAI-compatible chat endpoint: a hosted one, llama.cpp, Ollama, vLLM …"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from .errors import OptionError

_MOST = 1 << 20  # bytes of a reply that are read


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are refused: they would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True)
class ChatEndpoint:
    """An endpoint such as ``http://localhost:11434/v1``; `key` is sent as bearer token, `timeout` is in seconds."""

    url: str
    key: str | None = None
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise OptionError(self.url, "is not an http(s) address", "give one like http://localhost:11434/v1")

    def models(self) -> list[str]:
        """The models that the endpoint offers. Raises OptionError when it cannot be reached or understood."""
        return [str(model["id"]) for model in self._part(self._call("models"), "data")]

    def ask(self, model: str, instructions: str, question: str) -> str:
        """The model's answer. Raises OptionError when there is none."""
        messages = [{"role": "system", "content": instructions}, {"role": "user", "content": question}]
        reply = self._call("chat/completions", {"model": model, "messages": messages})
        return str(self._part(reply, "choices", 0, "message", "content") or "").strip()

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        address = f"{self.url.rstrip('/').removesuffix('/chat/completions')}/{path}"
        remedy = "check --endpoint (it ends in /v1 as a rule), --model and the key"
        try:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(address, data, headers)
            with _OPENER.open(request, timeout=self.timeout) as response:
                return json.loads(response.read(_MOST))
        except urllib.error.HTTPError as error:
            with error:
                said = _first_line(error.read(_MOST))
            raise OptionError(address, f"answers {error.code} {said or error.reason}", remedy) from error
        except TimeoutError as error:
            raise OptionError(
                address, f"does not answer within {self.timeout:g} s", "give a longer --timeout"
            ) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                raise OptionError(
                    address, f"does not answer within {self.timeout:g} s", "give a longer --timeout"
                ) from error
            reason = " ".join(str(getattr(error, "reason", error)).split())
            raise OptionError(
                address, f"cannot be reached ({reason})", "start the server or check --endpoint"
            ) from error
        except ValueError as error:
            raise OptionError(address, "does not answer with JSON", remedy) from error

    def _part(self, reply: Any, *keys: str | int) -> Any:
        try:
            for key in keys:
                reply = reply[key]
        except (KeyError, IndexError, TypeError) as error:
            fault = "does not answer as an OpenAI-compatible endpoint does"
            raise OptionError(self.url, fault, "check --endpoint (it ends in /v1 as a rule)") from error
        return reply


def key_from(variable: str | None) -> str | None:
    """The API key in an environment variable; None without a name. Raises OptionError when the variable is not set."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise OptionError(f"environment variable {variable}", "is not set", "export the key in it, or name another one")
    if not key.isascii() or not key.isprintable():
        raise OptionError(
            f"environment variable {variable}", "holds characters that no key has", "export the key in it, and no more"
        )
    return key


def _first_line(body: bytes) -> str:
    """What an error reply says: its JSON message, or its first line; at most 200 characters."""
    text = body.decode("utf-8", "replace").strip()
    try:
        message = json.loads(text)["error"]
        text = str(message["message"] if isinstance(message, dict) else message)
    except (ValueError, KeyError, TypeError):
        pass
    return " ".join(text.split("\n")[0].split())[:200]
