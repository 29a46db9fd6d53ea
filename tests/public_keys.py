"""Public keys for tests: of throw-away P-256 pairs whose private halves no longer exist."""

from typing import Final

ALICE: Final = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqD0vc/Nh91+FrhdWToq6ypm+bBVl
zVx7SbTs0QIF/FHTYuFna33nPF7hemRxPgZQUDcwR+79GM4Z/y66vdDukg==
-----END PUBLIC KEY-----
"""
BOB: Final = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1Map6kipAU3/UJ5YVIXs/kR9NQOH
F4fm3Tc0me41RFmqAQ1j6hnuzXGfQR7wlyjn0sCSvN6PEcm769YQhL4a8w==
-----END PUBLIC KEY-----
"""
OF_P384: Final = """-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEiASKoJ3dOgkuANILKxPZZTCg4CMc/nyM
iT7gL/sjpJNWuGZfw7tJh1kLq06YcxGAbmkucOQGPbdHk+DMculFV1OPSao7rT3v
DbXeW7TtRA9nmU8VPGjhLYFWh5UNBRe2
-----END PUBLIC KEY-----
"""
