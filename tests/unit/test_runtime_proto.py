"""The gRPC messages: generated as the .proto says, and numbered as the protocol's other implementations number them."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as theirs

from modelward_runtime.proto import inference_pb2 as ours

ROOT = Path(__file__).parents[2]
MESSAGES = sorted(ours.DESCRIPTOR.message_types_by_name)


def fields(message: Any) -> dict[str, Any]:
    listed = {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.message_type.name if field.message_type else None,
            field.containing_oneof.name if field.containing_oneof else None,
        )
        for field in message.fields
    }
    return listed | {nested.name: fields(nested) for nested in message.nested_types}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_are_numbered_as_tritonclient_numbers_them(name: str) -> None:
    assert fields(theirs.DESCRIPTOR.message_types_by_name[name]) == fields(ours.DESCRIPTOR.message_types_by_name[name])


def test_the_service_is_called_as_tritonclient_calls_it() -> None:
    mine = ours.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    other = theirs.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert other.full_name == mine.full_name
    for method in mine.methods:
        peer = other.methods_by_name[method.name]
        assert (
            peer.input_type.full_name,
            peer.output_type.full_name,
            peer.client_streaming,
            peer.server_streaming,
        ) == (
            method.input_type.full_name,
            method.output_type.full_name,
            method.client_streaming,
            method.server_streaming,
        )


def test_generated_modules_are_fresh(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate_proto", ROOT / "runtime" / "generate_proto.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for made in script.generate(tmp_path):
        kept = ROOT / "runtime/src" / made.relative_to(tmp_path)
        assert made.read_text() == kept.read_text(), f"{kept.name} is stale: run `make generate`"
