"""The small S3 client names objects as the paths say. Its signature is proved by every `up`, on a server that checks it."""

from pathlib import Path

import pytest

from e2e.cluster import s3


@pytest.mark.parametrize(
    ("reason", "source", "prefix", "expected"),
    [
        ("a folder below a prefix", "", "m/7/", ["m/7/a.onnx", "m/7/sub/b.bin"]),
        ("a prefix without its slash is the same folder", "", "m/7", ["m/7/a.onnx", "m/7/sub/b.bin"]),
        ("a folder into the bucket's root", "", "", ["a.onnx", "sub/b.bin"]),
        ("a file below a prefix", "a.onnx", "m/", ["m/a.onnx"]),
        ("a file under a name of its own", "a.onnx", "m/other.onnx", ["m/other.onnx"]),
        ("a file into the bucket's root", "a.onnx", "", ["a.onnx"]),
    ],
)
def test_keys(reason: str, source: str, prefix: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.onnx").touch()
    (tmp_path / "sub" / "b.bin").touch()
    assert [key for _, key in s3.objects(tmp_path / source, prefix)] == expected, reason


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(SystemExit, match="no such file"):
        list(s3.objects(Path("/nowhere"), "x/"))
