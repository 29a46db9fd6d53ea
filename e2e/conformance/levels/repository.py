"""The repository extension: what is there, and a clear word when it may not be changed."""

import grpc
from tritonclient.grpc import service_pb2 as pb

from e2e.conformance import cites
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import Target


@rule("REPOSITORY-01", Level.REPOSITORY, cites=(cites.INDEX,))
def index(target: Target) -> None:
    """The index lists the model with its state.

    POST /v2/repository/index, with an empty object and with {"ready": true}.
    """
    for content in ({}, {"ready": True}):
        listed = target.post("/v2/repository/index", content).ok().json
        states = {entry.get("name"): entry.get("state") for entry in listed}
        assert states.get(target.model) == "READY", f"index: {listed}"


@rule("REPOSITORY-02", Level.REPOSITORY, cites=(cites.INDEX,))
def index_grpc(target: Target) -> None:
    """The index over gRPC says the same."""
    models = target.call("RepositoryIndex", pb.RepositoryIndexRequest()).models
    assert {model.name: model.state for model in models}.get(target.model) == "READY", f"index: {models}"


@rule("REPOSITORY-03", Level.REPOSITORY, cites=(cites.LOAD,))
def unknown_load(target: Target) -> None:
    """Loading what is not there is refused with an error object.

    By a server that loads nothing on request as well: the error object says that it heard. The text asks for an error status, not for one
    of the client's.
    """
    answer = target.post("/v2/repository/models/no-such-model/load", {})
    assert answer.status >= 400, f"expected an error status, got {answer.status}: {answer.body[:300]!r}"
    answer.refused(answer.status)


@rule("REPOSITORY-04", Level.REPOSITORY, cites=(cites.LOAD,))
def unknown_load_grpc(target: Target) -> None:
    """Over gRPC too, and not as a method that does not exist."""
    codes = [code for code in grpc.StatusCode if code not in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.OK}]
    target.fails("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="no-such-model"), *codes)
