"""A stand-in for the Hugging Face Hub on loopback: what huggingface_hub asks for one model, and keeps what it sends."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """Repositories by name, "owner/name" for the branch main and "owner/name@branch" for others: a list of commits,
    each the files by name."""

    def __init__(self) -> None:
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.large: dict[str, bytes] = {}
        self.address = ""
        self.told: dict[str, Any] = {}
        """What it says of each file instead of the truth."""

    @staticmethod
    def oid(number: int, files: dict[str, bytes]) -> str:
        return hashlib.sha1(repr((number, sorted(files.items()))).encode()).hexdigest()

    def branch(self, repo: str, revision: str) -> str:
        return repo if revision == "main" else f"{repo}@{revision}"

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        named = {self.oid(number, files): files for number, files in enumerate(self.commits.get(repo, []))}
        if commits := self.commits.get(self.branch(repo, revision)):
            return self.oid(len(commits) - 1, commits[-1]), commits[-1]
        return (revision, named[revision]) if revision in named else None


def described(name: str, data: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {"rfilename": name, "size": len(data)}
    told["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if name.endswith(".onnx"):
        told["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 100}
    return told


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, value: object = None, status: int = 200, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def absent(self, code: str) -> None:
        self.answer({"error": "absent"}, 404, X_Error_Code=code)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        if path.startswith("api/models/"):
            owner, name, *rest = path.removeprefix("api/models/").split("/")
            repo = f"{owner}/{name}"
            found = self.hub.files(repo, rest[1] if rest[:1] == ["revision"] else "main")
            if repo not in self.hub.commits:
                return self.absent("RepoNotFound")
            if found is None and rest:
                return self.absent("RevisionNotFound")
            commit, files = found or ("", {})
            siblings = [described(name, data) | self.hub.told for name, data in files.items()]
            return self.answer({"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "tags": []})
        owner, name, _, revision, file = path.split("/", 4)
        found = self.hub.files(f"{owner}/{name}", revision)
        if found is None:
            return self.absent("RevisionNotFound")
        commit, files = found
        if file not in files:
            return self.absent("EntryNotFound")
        etag = hashlib.sha256(files[file]).hexdigest()
        return self.answer(files[file], ETag=f'"{etag}"', X_Repo_Commit=commit)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        data = self.body()
        self.hub.large[hashlib.sha256(data).hexdigest()] = data
        self.answer({})

    def do_POST(self) -> None:
        body = self.body()
        path = unquote(urlsplit(self.path).path).strip("/")
        if path == "api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if path == "api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization', 'me')}/{asked['name']}"
            self.hub.commits.setdefault(repo, [])
            return self.answer({"url": f"{self.hub.address}/{repo}", "id": repo, "name": repo})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.hub.address}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer({"transfer": "basic", "objects": objects})
        repo, verb, revision = "/".join(path.split("/")[2:4]), *path.split("/")[4:6]
        if verb == "branch":
            self.hub.commits.setdefault(self.hub.branch(repo, revision), list(self.hub.commits[repo]))
            return self.answer({})
        if verb == "preupload":
            modes = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(".onnx") else "regular"}
                for one in json.loads(body)["files"]
            ]
            return self.answer({"files": [one | {"shouldIgnore": False} for one in modes]})
        assert verb == "commit"
        commits = self.hub.commits[self.hub.branch(repo, revision)]
        files = dict(commits[-1]) if commits else {}
        for line in body.splitlines():
            one = json.loads(line)
            value = one["value"]
            if one["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            if one["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
        commits.append(files)
        oid = self.hub.oid(len(commits) - 1, files)
        return self.answer({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.address}/{repo}/commit/{oid}"})


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"hub": hub})) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
