"""Key-encryption keys in AWS KMS: the key never leaves KMS, and the encryption context binds a wrapped key to its manifest.

Needs the extra `aws` (botocore alone, imported here and only on use): signing requests and finding credentials (keys, web identity,
container and instance roles) is what botocore does, and nothing to write again. It must never put a credential or a key into a message.

    policy of a serving pod's role    kms:Decrypt on the key, with the condition
                                      {"StringEquals": {"kms:EncryptionContext:modelward.tenant": "TENANT"}}
    policy of who seals               kms:Encrypt on the key, with the same condition where it seals for one tenant

The tenant stands in the context in clear for such conditions, and for CloudTrail: the digest beside it already binds the key to it, but a
policy cannot tell whose digest it is, and without the condition a role opens what was sealed for any tenant under a shared key.
"""

from typing import Any, Final

from modelward_runtime.config import AwsKmsKeys
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.kek import WrappedKey
from modelward_runtime.store.sealed.refusals import refuse

PROVIDER: Final = "AWSKMS"
_CONTEXT, _TENANT = "modelward.context", "modelward.tenant"
_TIMEOUT = 10.0  # seconds
_SHOWN = 300

# KMS's error codes that trying again does not help, and what they mean. Any other is transient.
_MEANINGS: Final = {
    "NotFoundException": (LoadReason.KEY_NOT_FOUND, "there is no such key in this region"),
    "InvalidCiphertextException": (LoadReason.KEY_WRONG, "it was not wrapped by this key, for this manifest.json"),
    "IncorrectKeyException": (LoadReason.KEY_WRONG, "it was wrapped by another key"),
    "AccessDeniedException": (LoadReason.KEY_DENIED, "the role has no right to the key"),
    "DisabledException": (LoadReason.KEY_DENIED, "the key is disabled"),
    "KMSInvalidStateException": (LoadReason.KEY_DENIED, "the key is disabled or about to be deleted"),
    "InvalidKeyUsageException": (LoadReason.KEY_WRONG, "the key is not one for encryption"),
    "InvalidArnException": (LoadReason.CONFIG_INVALID, "the key is no ARN, id or alias"),
    "ValidationException": (LoadReason.CONFIG_INVALID, ""),
    "UnrecognizedClientException": (LoadReason.KEY_DENIED, "the credentials are not known"),
    "InvalidClientTokenId": (LoadReason.KEY_DENIED, "the credentials are not known"),
    "ExpiredTokenException": (LoadReason.KEY_DENIED, "the credentials have expired"),
    "InvalidSignatureException": (LoadReason.KEY_DENIED, "the secret access key is wrong"),
    "AccessDenied": (LoadReason.KEY_DENIED, "the role cannot be assumed"),
    "InvalidIdentityToken": (
        LoadReason.KEY_DENIED,
        "STS does not take the pod's token: does the role trust the cluster's issuer?",
    ),
    "IDPRejectedClaim": (
        LoadReason.KEY_DENIED,
        "STS does not take the pod's token: does the role trust this ServiceAccount?",
    ),
}


def connect(keys: AwsKmsKeys) -> "KmsKey":
    """The key that boot.json names. Nothing is asked yet."""
    return KmsKey(keys.key, keys.region, keys.endpoint)


def _bound(context: bytes, tenant: str) -> dict[str, str]:
    return {_CONTEXT: context.hex(), **({_TENANT: tenant} if tenant else {})}


def named(arn: str) -> "KmsKey":
    """The key that a person names as `awskms:ARN`, with the credentials of AWS's own command line."""
    parts = arn.split(":")
    if len(parts) < 6 or parts[2] != "kms":
        raise refuse(
            LoadReason.CONFIG_INVALID, f"awskms:{arn} is no key of KMS: awskms:arn:aws:kms:REGION:ACCOUNT:key/ID"
        )
    return KmsKey(arn, parts[3])


class KmsKey:
    """One key of KMS. Its id is what the configuration calls it (ARN, key id or alias), its version the ARN that KMS answers with."""

    def __init__(self, key: str, region: str, endpoint: str | None = None) -> None:
        self.kek_id = key
        self._region = region
        self._endpoint = endpoint

    def wrap(self, data_key: bytes, context: bytes, tenant: str = "") -> WrappedKey:
        """Have KMS encrypt the data key."""
        answer = self._call("encrypt", Plaintext=data_key, EncryptionContext=_bound(context, tenant))
        return WrappedKey(PROVIDER, self.kek_id, str(answer["KeyId"]).rpartition("/")[2], answer["CiphertextBlob"])

    def unwrap(self, wrapped: WrappedKey, context: bytes, tenant: str = "") -> bytes:
        """Have KMS decrypt it, with this key and no other."""
        if (wrapped.provider, wrapped.kek_id) != (PROVIDER, self.kek_id):
            raise refuse(
                LoadReason.KEY_NOT_FOUND,
                f"the model is wrapped for the {wrapped.provider} key {wrapped.kek_id}, and the key at hand is AWS KMS's {self.kek_id}",
            )
        answer = self._call("decrypt", CiphertextBlob=wrapped.wrapped, EncryptionContext=_bound(context, tenant))
        return bytes(answer["Plaintext"])

    def _call(self, verb: str, **sent: Any) -> Any:  # noqa: ANN401  botocore is untyped
        try:
            import botocore.exceptions  # noqa: PLC0415  an extra, and slow to import
        except ImportError:
            raise refuse(
                LoadReason.CONFIG_INVALID,
                "AWS KMS needs botocore, which is not here: build the image without AWS=no, or install modelward-runtime[aws]",
            ) from None
        try:
            return getattr(self._client(), verb)(KeyId=self.kek_id, **sent)
        except botocore.exceptions.ClientError as error:
            raise self._explain(verb, error.response.get("Error", {})) from None
        except botocore.exceptions.NoCredentialsError:
            raise refuse(
                LoadReason.KEY_DENIED, f"AWS KMS, {verb} with {self.kek_id}: the environment holds no AWS credentials"
            ) from None
        except (FileNotFoundError, PermissionError) as error:  # the file of a web identity's token
            raise refuse(
                LoadReason.KEY_DENIED, f"AWS KMS, {verb} with {self.kek_id}: {error.filename}: {error.strerror}"
            ) from None
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise self._unreachable(type(error).__name__) from None

    def _client(self) -> Any:  # noqa: ANN401  botocore is untyped
        """A client of its own for each use: there is one use per load, and credentials may have changed."""
        import botocore.config  # noqa: PLC0415
        import botocore.session  # noqa: PLC0415

        limits = botocore.config.Config(
            connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT, retries={"total_max_attempts": 1}
        )
        session = botocore.session.get_session()
        return session.create_client("kms", region_name=self._region, endpoint_url=self._endpoint, config=limits)

    def _explain(self, verb: str, error: Any) -> LoadError:  # noqa: ANN401  botocore is untyped
        code, said = str(error.get("Code", "")), str(error.get("Message", ""))[:_SHOWN]
        reason, meaning = _MEANINGS.get(code, (None, ""))
        if reason is None:
            return self._unreachable(f"{code} {said}".strip())
        told = "; ".join(part for part in (f"{code} {said}".strip(), meaning) if part)
        return refuse(reason, f"AWS KMS, {verb} with {self.kek_id}: {told}")

    def _unreachable(self, why: str) -> LoadError:
        return refuse(LoadReason.KEY_SERVICE_UNREACHABLE, f"AWS KMS in {self._region} does not answer: {why}")
