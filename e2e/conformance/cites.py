"""The texts that rules rest on. Where none of them says it, an RFC or the wish of clients does, and the rule says so."""

from typing import Final

from e2e.conformance.rule import WISH, Cite

OIP_REST: Final = "Open Inference Protocol v2, HTTP/REST (github.com/kserve/open-inference-protocol, inference_rest.md)"
OIP_GRPC: Final = "Open Inference Protocol v2, gRPC (github.com/kserve/open-inference-protocol, inference_grpc.md)"
TRITON: Final = "github.com/triton-inference-server/server, docs/protocol"
BINARY_TEXT: Final = f"Binary Tensor Data Extension ({TRITON}/extension_binary_data.md)"
REPOSITORY_TEXT: Final = f"Model Repository Extension ({TRITON}/extension_model_repository.md)"
STREAM_TEXT: Final = "Triton's grpc_service.proto (github.com/triton-inference-server/common)"
HTTP_TEXT: Final = "RFC 9110, HTTP Semantics"
HTTP1_TEXT: Final = "RFC 9112, HTTP/1.1"
CODES_TEXT: Final = "gRPC, status codes (grpc.io/docs/guides/status-codes)"

READY = Cite(OIP_REST, "API Definitions", "“server ready” indicates if all the models are ready for inferencing.")
LIVE = Cite(OIP_REST, "API Definitions", "“server live” indicates if the server is able to receive and respond.")
MODEL_READY = Cite(OIP_REST, "Model Ready Response JSON Object", '{"name": $string, "ready": $bool}')
SERVER_METADATA = Cite(
    OIP_REST, "Server Metadata Response JSON Object", "name, version, extensions; a 200 HTTP status code."
)
MODEL_METADATA = Cite(
    OIP_REST, "Model Metadata Response JSON Object", "name, platform, inputs, outputs; variable-size dimensions are -1."
)
METADATA_ERROR = Cite(
    OIP_REST,
    "Model Metadata Response JSON Error Object",
    "indicated by an HTTP error status (typically 400); the body must contain the object with “error”.",
)
INFERENCE = Cite(OIP_REST, "Inference Request JSON Object", "inputs, and outputs, id and parameters optional.")
RESPONSE = Cite(OIP_REST, "Inference Response JSON Object", "a 200 HTTP status code, model_name, outputs.")
IDENTIFIER = Cite(
    OIP_REST, "Inference Request JSON Object", "if specified this identifier must be returned in the response."
)
OUTPUTS = Cite(
    OIP_REST,
    "Inference Request JSON Object",
    "outputs: if not specified all outputs produced by the model will be returned.",
)
BATCH = Cite(
    OIP_REST, "Request Input", "the shape and data must represent the full shape and contents of the entire batch."
)
VERSIONS = Cite(OIP_REST, "Model Metadata Response JSON Object", "versions: those that may be explicitly requested.")
INFERENCE_ERROR = Cite(
    OIP_REST, "Inference", "the HTTP body contains the Inference Response JSON Error Object, {“error”: $string}."
)
NESTED = Cite(
    OIP_REST,
    "Tensor Data",
    "JSON may carry a tensor flat in row-major order or nested by its dimensions (the v2 text of KServe).",
)
GRPC_HEALTH = Cite(OIP_GRPC, "Health", "the OK code indicates success; live, ready.")
GRPC_METADATA = Cite(OIP_GRPC, "Metadata", "name, versions, platform, inputs, outputs.")
GRPC_INFER = Cite(OIP_GRPC, "Inference", "errors are indicated by the google.rpc.Status returned for the request.")
GRPC_RAW = Cite(
    OIP_GRPC,
    "Inference",
    "raw_input_contents must be initialised with data for each tensor in the same order as inputs; for each, the size must match the "
    "tensor's shape and data type; if it is specified, contents must not be.",
)
GRPC_FP16 = Cite(OIP_GRPC, "Inference", "FP16 must be represented as raw content.")
GRPC_CONTENTS = Cite(OIP_GRPC, "Tensor Data", "the contents' size must match what is expected by the tensor's shape.")
DATATYPES = Cite(OIP_GRPC, "Tensor Data Types", "BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64, BYTES.")
BINARY_LISTED = Cite(BINARY_TEXT, "Binary Tensor Data Extension", "reported as “binary_tensor_data” in the extensions.")
BINARY_SIZE = Cite(
    BINARY_TEXT, "Binary Tensor Data Extension", "“binary_data_size”: the size of the tensor's data in bytes."
)
BINARY_OUT = Cite(
    BINARY_TEXT, "Binary Tensor Data Extension", "“binary_data”, and “binary_data_output” for all that do not say."
)
BINARY_HEADER = Cite(
    BINARY_TEXT,
    "Binary Tensor Data Extension",
    "Inference-Header-Content-Length must give the length of the JSON object, Content-Length the full body's.",
)
BINARY_BYTES = Cite(BINARY_TEXT, "Binary Tensor Data Extension", "BYTES: a 4-byte unsigned length, then the bytes.")
INDEX = Cite(REPOSITORY_TEXT, "Index", "every model available, with name, version, state, reason.")
LOAD = Cite(REPOSITORY_TEXT, "Load", "a failed load request must be indicated by an HTTP error status, with {“error”}.")
STREAM = Cite(
    STREAM_TEXT, "ModelStreamInfer", "one response or error_message for each request, in order, on one stream."
)
METHODS = Cite(HTTP_TEXT, "15.5.6", "405 (Method Not Allowed) must come with an Allow header.")
PIPELINE = Cite(HTTP1_TEXT, "9.3.2", "responses to pipelined requests are sent in the order of the requests.")
PERSISTENT = Cite(HTTP1_TEXT, "9.3", "HTTP/1.1 connections persist unless Connection: close says otherwise.")
SMUGGLING = Cite(
    HTTP1_TEXT,
    "6.3",
    "Transfer-Encoding with Content-Length: an error, or Content-Length is dropped and the connection closed.",
)
LENGTHS = Cite(
    HTTP1_TEXT, "6.3", "differing Content-Length values are an unrecoverable error: 400, and the connection is closed."
)
CONTINUE = Cite(HTTP_TEXT, "10.1.1", "Expect: 100-continue is answered with 100 or a final status code.")
INCOMPLETE = Cite(HTTP1_TEXT, "8", "a message is incomplete when its connection ends before its length was received.")
CLIENT_ERROR = Cite(HTTP_TEXT, "15.5", "4xx: the client seems to have erred; 5xx is for the server's own failures.")
GRPC_CODES = Cite(
    CODES_TEXT,
    "INVALID_ARGUMENT",
    "the client specified an invalid argument; UNKNOWN and INTERNAL are for the server's own failures.",
)
ACCEPT_ENCODING = Cite(
    HTTP_TEXT,
    "12.5.3",
    "a coding with a weight of 0, or that is not listed, is not acceptable; identity is, unless excluded.",
)
CONTENT_ENCODING = Cite(
    HTTP_TEXT,
    "8.4",
    "what coding was applied to the content; 415 (Unsupported Media Type) where a server does not take it.",
)
BF16_TEXT = Cite(
    f"Triton's model configuration ({TRITON.removesuffix('/protocol')}/user_guide/model_configuration.md)",
    "Datatypes",
    "BF16; the Open Inference Protocol's own list of datatypes has none.",
)
UNSPOKEN = Cite(
    WISH, "Requests", "none says what becomes of such a request; one that is taken for another is a bug nobody sees."
)
CODECS = Cite(
    WISH, "Datatypes", "none says that a value of another kind is not converted; conversion in silence hides bugs."
)
STURDY = Cite(
    WISH, "Servers", "none says what a server must withstand; every one that is reached by strangers meets it."
)
SAME_WORDS = Cite(WISH, "Messages", "none says that both transports use the same words.")
DEADLINE = Cite(
    "gRPC over HTTP/2, core concepts", "Deadlines/Timeouts", "a call that outlives its deadline ends DEADLINE_EXCEEDED."
)
