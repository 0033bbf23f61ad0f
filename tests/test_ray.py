"""Coloring by a real Ray cluster of this machine, of two workers; and from and to an S3 server."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ray", reason="needs Ray, of the extra scale")

from pyarrow import parquet

from tests.commands import ROOT, run
from tests.photographs import write_jpegs

pytestmark = pytest.mark.slow


def begun(*words: object, model: Path, folder: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "recolor_fast.colorize", *map(str, words), "--model", str(model)]
    command += ["--provider", "cpu", "--engine", "ray", "--json", "--color", "recolor"]
    places = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=places)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict], str]:
    out, told = process.communicate(timeout=500)
    return process.returncode, [json.loads(line) for line in out.splitlines()], told


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cluster_gives_what_one_process_gives(model, tmp_path):
    write_jpegs(tmp_path / "in" / "sub", 40)
    assert run(tmp_path / "in", tmp_path / "alone", "--color", "recolor", model=model) == 0
    code, records, told = ended(begun("in", "out", model=model, folder=tmp_path))
    assert code == 0, told
    assert sorted(one["input"] for one in records) == [f"in/sub/{number:03d}.jpg" for number in range(40)]
    assert {one["status"] for one in records} == {"ok"}
    assert files(tmp_path / "out") == files(tmp_path / "alone")
    assert "40 colored, 0 skipped, 0 failed" in told
    assert parquet.read_table(tmp_path / "out.records").num_rows == 40


def test_a_killed_worker_loses_nothing(model, tmp_path):
    write_jpegs(tmp_path / "in", 300, height=600, width=800)
    process = begun("in", "out", model=model, folder=tmp_path)
    killed = False
    limit = time.monotonic() + 300
    while not killed and process.poll() is None and time.monotonic() < limit:
        if len(list((tmp_path / "out").glob("*.jpg"))) > 10:
            killed = _kill_a_worker(process.pid)
        time.sleep(0.02)
    code, records, told = ended(process)
    assert code == 0, told
    assert killed
    assert sorted(one["input"] for one in records) == [f"in/{number:03d}.jpg" for number in range(300)]
    assert {one["status"] for one in records} <= {"ok", "skipped"}
    assert run(tmp_path / "in", tmp_path / "alone", "--color", "recolor", model=model) == 0
    made = files(tmp_path / "out")
    cut = [name for name in made if name.startswith(".") and name.endswith(".part")]
    assert len(cut) <= 1  # what the killed worker was writing, beside its place
    assert {name: made[name] for name in made if name not in cut} == files(tmp_path / "alone")


def _kill_a_worker(driver: int) -> bool:
    """SIGKILL one of the cluster's workers, children of the driver's children, that holds a model."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            name = (place / "cmdline").read_bytes()
            parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
            above = int(Path("/proc", str(parent), "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if b"MapWorker(MapBatches(_Actor))" in name and driver in (parent, above):
            os.kill(int(place.name), signal.SIGKILL)
            return True
    return False


@pytest.mark.parametrize("works", [True, False])
def test_a_cluster_that_is_slow_to_start_is_given_more_time(works, monkeypatch):
    from recolor_fast.scale import engine

    begun = []

    def init(**how: object) -> None:
        begun.append(how["address"])
        if len(begun) < engine.TRIES or not works:
            raise Exception("The current node timed out during startup. This could happen because\nof more.")

    monkeypatch.setattr(engine.ray, "init", init)
    monkeypatch.setattr(engine.ray, "shutdown", lambda: None)
    if works:
        engine._joined(None)
    else:
        said = (
            r"^a cluster of this machine does not start \(The current node timed out .* because\); try again when less"
        )
        with pytest.raises(ValueError, match=said):
            engine._joined(None)
    assert begun == ["local"] * engine.TRIES


def test_what_ray_prints_as_it_begins_and_ends_is_no_record(monkeypatch, capsys):
    from recolor_fast.scale import engine

    monkeypatch.setattr(engine.ray, "init", lambda **how: print("begins"))
    monkeypatch.setattr(engine.ray, "shutdown", lambda: print("a worker died"))
    monkeypatch.setattr(engine.ray.data.DataContext, "get_current", SimpleNamespace)
    with engine._cluster(None):
        print("is at work")
    print("record")
    told = capsys.readouterr()
    assert told.out == "record\n"
    assert told.err.splitlines() == ["begins", "is at work", "a worker died"]


# --- an object store -----------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Iterator[str]:
    """The port of an S3 server with the bucket `photographs`."""
    server = pytest.importorskip("moto.server", reason="needs moto and flask")
    import boto3

    threaded = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    threaded.start()
    port = threaded.get_host_and_port()[1]
    names = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    reset = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()  # what it holds outlives a server, in this process
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **names).create_bucket(Bucket="photographs")
    yield str(port)
    threaded.stop()


@pytest.mark.parametrize(
    ("allowed", "said"),
    [(["s3:List*", "s3:Get*"], "output {out}: cannot be written ("), ([], "input {input}: cannot be read (")],
    ids=["what may only be read", "what may not be read"],
)
def test_a_bucket_without_permission_is_one_sentence(allowed, said, store, model, tmp_path, monkeypatch, capsys):
    import boto3
    from moto import settings

    names = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    names["endpoint_url"] = f"http://127.0.0.1:{store}"
    access, objects = boto3.client("iam", **names), boto3.client("s3", **names)
    objects.put_object(Bucket="photographs", Key="in/a.jpg", Body=write_jpegs(tmp_path, 1)[0].read_bytes())
    access.create_user(UserName="guest")
    rights = [{"Effect": "Allow", "Action": allowed or ["s3:Nothing"], "Resource": "*"}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": rights})
    access.put_user_policy(UserName="guest", PolicyName="rights", PolicyDocument=policy)
    key = access.create_access_key(UserName="guest")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    input, out = (
        f"s3://photographs/{name}?scheme=http&endpoint_override=127.0.0.1:{store}&region=us-east-1"
        for name in ("in", "out")
    )
    with monkeypatch.context() as patch:
        patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from here on the server asks for rights
        assert run(input, out, "--engine", "ray", model=model) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("error: " + said.format(input=input, out=out))
    assert "ACCESS_DENIED" in told[-1]
    assert told[-1].endswith("; check its name and rights")
    assert [one["Key"] for one in objects.list_objects_v2(Bucket="photographs")["Contents"]] == ["in/a.jpg"]


@pytest.mark.parametrize("count", [50, 500])
def test_an_object_store_gives_what_folders_give(count, store, model, tmp_path):
    from recolor_fast.scale import places

    query = f"?scheme=http&endpoint_override=127.0.0.1:{store}&region=us-east-1"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        for path in write_jpegs(tmp_path / "in", count):
            places.put(path, f"s3://photographs/in{query}", f"sub/{path.name}")
        words = (f"s3://photographs/in{query}", f"s3://photographs/out{query}")
        code, records, told = ended(begun(*words, model=model, folder=tmp_path))
        assert code == 0, told
        assert len(records) == count
        assert run(tmp_path / "in", tmp_path / "alone", "--color", "recolor", model=model) == 0
        for name, data in files(tmp_path / "alone").items():
            assert places.get(words[1], f"sub/{name}", tmp_path / "got", 2**30)
            assert (tmp_path / "got").read_bytes() == data
        code, records, told = ended(begun(*words, model=model, folder=tmp_path))
        assert {one["reason"] for one in records} == {"done before"}
