"""The yardstick: starlette, uvicorn and orjson with no feature at all, JSON and binary tensors."""

from typing import Any

import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from e2e.bench.serving.adapters.model import Model, Options, described, options, rows_of

LENGTH = "inference-header-content-length"


def application(given: Options) -> Starlette:
    """One ONNX model."""
    model = Model(given.model)

    async def infer(request: Request) -> Response:
        body = await request.body()
        if LENGTH in request.headers:
            return _binary(given.name, model, body, int(request.headers[LENGTH]))
        rows = model.run(rows_of(orjson.loads(body)))
        answer = {"model_name": given.name, "outputs": [{**described(rows), "data": rows.ravel()}]}
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    return Starlette(routes=[Route(f"/v2/models/{given.name}/infer", infer, methods=["POST"])])


def _binary(name: str, model: Model, body: bytes, length: int) -> Response:
    shape = orjson.loads(body[:length])["inputs"][0]["shape"]
    rows: Any = model.run(np.frombuffer(body, np.float32, offset=length).reshape(shape))
    data = rows.tobytes()
    output = {**described(rows), "parameters": {"binary_data_size": len(data)}}
    head = orjson.dumps({"model_name": name, "outputs": [output]})
    return Response(head + data, media_type="application/octet-stream", headers={LENGTH: str(len(head))})


def main() -> None:
    """Serve."""
    given = options()
    uvicorn.run(application(given), host="127.0.0.1", port=given.rest, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
