import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from diffclip_geo.chat import ChatEndpoint, key_from
from diffclip_geo.errors import OptionError


class Stub:
    """A chat server on this machine: `answers` are given in turn, what it was asked is kept."""

    def __init__(self):
        self.answers, self.requests = [], []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(None)

            def do_POST(self):
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, body):
                stub.requests.append((self.path, dict(self.headers), body))
                status, reply = stub.answers.pop(0)
                if reply is None:
                    stub.released.wait(5)
                    return
                content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{stub.url}/elsewhere")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def say(self, *texts):
        self.answers += [(200, {"choices": [{"message": {"role": "assistant", "content": text}}]}) for text in texts]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def stub(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Stub()
    yield server
    server.close()


def test_a_question_goes_out_as_openai_has_it_and_the_answer_comes_back(stub):
    stub.say("  a tall crown. \n")
    assert ChatEndpoint(stub.url, "secret").ask("m1", "be brief", "tree?") == "a tall crown."
    path, headers, body = stub.requests[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert body == {
        "model": "m1",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "tree?"}],
    }


@pytest.mark.parametrize("tail", ["", "/", "/chat/completions"])
def test_the_address_may_be_the_base_or_the_whole(stub, tail):
    stub.say("yes")
    assert ChatEndpoint(stub.url + tail).ask("m", "", "") == "yes"
    assert stub.requests[0][0] == "/v1/chat/completions" and "Authorization" not in stub.requests[0][1]


def test_models_on_offer(stub):
    stub.answers.append((200, {"data": [{"id": "a"}, {"id": "b"}]}))
    assert ChatEndpoint(stub.url).models() == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {"error": {"message": "bad key"}}), "answers 401 bad key; check --endpoint"),
        ((500, b"down\nfor repair"), "answers 500 down; check"),
        ((404, {"error": "no such model"}), "answers 404 no such model"),
        ((200, b"<html>"), "does not answer with JSON"),
        ((200, {"choices": []}), "does not answer as an OpenAI-compatible endpoint does"),
        ((200, []), "does not answer as an OpenAI-compatible endpoint does"),
        ((302, b""), "answers 302"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(stub, answer, said):
    stub.answers.append(answer)
    with pytest.raises(OptionError) as error:
        ChatEndpoint(stub.url, "secret").ask("m", "", "")
    assert said in str(error.value) and "\n" not in str(error.value) and "secret" not in str(error.value)
    assert len(stub.requests) == 1  # a redirect is not followed


def test_a_server_that_is_silent_or_away_is_no_traceback(stub):
    stub.answers.append((200, None))
    with pytest.raises(OptionError, match=r"does not answer within 0\.2 s; give a longer --timeout"):
        ChatEndpoint(stub.url, timeout=0.2).ask("m", "", "")
    stub.close()
    with pytest.raises(OptionError, match=r"cannot be reached \(.*refused.*\); start the server"):
        ChatEndpoint(stub.url).ask("m", "", "")


@pytest.mark.parametrize("url", ["localhost:8080", "file:///etc/passwd", "ftp://a/b", "http://"])
def test_other_addresses_are_refused(url):
    with pytest.raises(OptionError):
        ChatEndpoint(url).ask("m", "", "")


def test_the_key_comes_from_the_variable_named(monkeypatch):
    monkeypatch.setenv("MY_KEY", " abc\n")
    assert key_from("MY_KEY") == "abc" and key_from(None) is None
    monkeypatch.setenv("MY_KEY", "a\r\nX: y")
    with pytest.raises(OptionError, match="characters that no key has"):
        key_from("MY_KEY")
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(OptionError, match="environment variable MY_KEY: is not set"):
        key_from("MY_KEY")
