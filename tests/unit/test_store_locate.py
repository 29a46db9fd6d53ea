"""What a URI means, and which file of a folder is the model."""

import pytest

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import OciLocation, S3Location, choose_model_file, parse_uri


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://models/fraud/7/", S3Location("models", "fraud/7", single=False)),
        ("s3://models/fraud/7", S3Location("models", "fraud/7", single=False)),
        ("s3://models/fraud/7/model.onnx", S3Location("models", "fraud/7/model.onnx", single=True)),
        ("s3://models/folder.onnx/", S3Location("models", "folder.onnx", single=False)),
        ("s3://models/", S3Location("models", "", single=False)),
        ("s3://models", S3Location("models", "", single=False)),
    ],
)
def test_s3_uris(uri: str, expected: S3Location) -> None:
    assert expected == parse_uri(uri)


DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("oci://registry.example/fraud:7", OciLocation("registry.example", "fraud", "7")),
        ("oci://127.0.0.1:5000/risk/fraud-scorer:v7_1.2", OciLocation("127.0.0.1:5000", "risk/fraud-scorer", "v7_1.2")),
        (f"oci://r.example/risk/fraud@{DIGEST}", OciLocation("r.example", "risk/fraud", "", DIGEST)),
        (f"oci://r.example/a__b/c.d:7@{DIGEST}", OciLocation("r.example", "a__b/c.d", "7", DIGEST)),
    ],
)
def test_oci_uris(uri: str, expected: OciLocation) -> None:
    assert expected == parse_uri(uri)
    assert uri == expected.uri


@pytest.mark.parametrize(
    "rest",
    [
        "fraud:7",
        "r.example/fraud",
        "r.example/:7",
        "r.example/Fraud:7",
        "r.example/a/../b:7",
        "r.example/a//b:7",
        "r.example/a:7/b",
        "r.example/a:",
        "r.example/a@sha256:abc",
        "r.example/a@sha512:" + "a" * 128,
        "user:pass@r.example/a:7",
        "r.example/a:7?x",
        "r.example/a:7\n",
        "r.example/a:" + "7" * 129,
    ],
)
def test_what_names_no_artifact_is_refused(rest: str) -> None:
    with pytest.raises(LoadError, match="write oci://REGISTRY/REPOSITORY:TAG"):
        parse_uri(f"oci://{rest}")


@pytest.mark.parametrize(
    ("uri", "reason", "text"),
    [
        (
            "http://host/m.onnx",
            LoadReason.UNSUPPORTED_SCHEME,
            "the scheme 'http' is not supported, use s3://BUCKET/PATH",
        ),
        ("S3://bucket/m.onnx", LoadReason.UNSUPPORTED_SCHEME, "the scheme 'S3' is not supported"),
        ("ftp://x", LoadReason.UNSUPPORTED_SCHEME, "the scheme 'ftp' is not supported"),
        ("/models/m.onnx", LoadReason.UNSUPPORTED_SCHEME, "this is no URI"),
        ("s3:///m.onnx", LoadReason.BUCKET_NOT_FOUND, "the URI names no bucket"),
        *(
            (f"https://host/a/{climbs}/m.onnx", LoadReason.MODEL_NOT_FOUND, "write https://HOST/PATH without")
            for climbs in ("..", "%2e%2e", ".%2E", "..%2fb", "..%5Cb", "..;", "..;v=1", "..\\b")
        ),
    ],
)
def test_other_uris_are_refused(uri: str, reason: LoadReason, text: str) -> None:
    with pytest.raises(LoadError, match=text) as caught:
        parse_uri(uri)
    assert (reason, "fetch", True) == (caught.value.reason, caught.value.stage, caught.value.permanent)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.onnx", "other.onnx", "weights.bin"], "model.onnx"),
        (["fraud.onnx", "weights.bin", "sub/model.onnx"], "fraud.onnx"),
    ],
)
def test_the_model_file_of_a_folder(names: list[str], expected: str) -> None:
    assert expected == choose_model_file(names, "s3://b/p/")


@pytest.mark.parametrize(
    ("names", "reason", "text"),
    [
        (
            ["a.onnx", "b.onnx"],
            LoadReason.AMBIGUOUS_MODEL_FILE,
            r"s3://b/p/ holds 2 \.onnx files \(a\.onnx, b\.onnx\) and none",
        ),
        (["README.md"], LoadReason.NO_MODEL_FILE, "holds no model.onnx and no other .onnx; found README.md"),
        (["1/model.onnx"], LoadReason.NO_MODEL_FILE, "there is 1/model.onnx further down"),
        ([], LoadReason.NO_MODEL_FILE, "it is empty"),
        ([f"f{i}" for i in range(9)], LoadReason.NO_MODEL_FILE, "found f0, f1, f2, f3, f4 and 4 more"),
    ],
)
def test_no_model_file_says_what_is_there_instead(names: list[str], reason: LoadReason, text: str) -> None:
    with pytest.raises(LoadError, match=text) as caught:
        choose_model_file(names, "s3://b/p/")
    assert reason is caught.value.reason
