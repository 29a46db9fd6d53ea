"""MLServer's codecs, which its callers encode requests with, over plain HTTP. Runs in MLServer's environment."""

import json
import sys
import urllib.request

import numpy as np
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

TYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32, "BOOL": np.bool_}


def main(rest: str, _grpc: str, model: str) -> None:
    """Ask once."""
    tensors = json.load(sys.stdin)
    arrays = {one["name"]: np.array(one["data"], TYPES[one["datatype"]]).reshape(one["shape"]) for one in tensors}
    sent = InferenceRequest(inputs=[NumpyCodec.encode_input(name, array) for name, array in arrays.items()])
    body = sent.model_dump_json(exclude_none=True).encode()
    ask = urllib.request.Request(f"{rest}/v2/models/{model}/infer", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(ask, timeout=30) as answer:
        got = InferenceResponse.model_validate_json(answer.read())
    outputs = []
    for one in got.outputs:
        array = NumpyCodec.decode_output(one)
        outputs.append(
            {"name": one.name, "datatype": one.datatype, "shape": list(one.shape), "data": array.ravel().tolist()}
        )
    print(json.dumps({"REST with JSON": outputs}))


main(*sys.argv[1:])
