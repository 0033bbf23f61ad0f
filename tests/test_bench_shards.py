from bench import shards
from tests.photographs import write_jpegs


def test_the_rows_are_of_the_same_photographs_from_both(tmp_path, capsys):
    write_jpegs(tmp_path / "photographs", 12)
    assert shards.main(["--photographs", str(tmp_path / "photographs"), "--runs", "1"]) == 0
    table = capsys.readouterr().err.splitlines()
    rows = [line.split() for line in table if line.startswith(("read", "host", "dali-cpu"))]
    assert {tuple(row[:3]) for row in rows} >= {
        (name, cached, source)
        for name in ("read", "host")
        for cached in ("warm", "cold")
        for source in ("folder", "shards")
    }
    assert all(float(row[5]) == 1 for row in rows if row[2] == "folder")
