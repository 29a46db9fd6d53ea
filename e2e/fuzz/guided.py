"""Coverage-guided fuzzing of one target by atheris (libFuzzer): a process of its own, which ends with the first finding.

Started by `session.py` as `python -m e2e.fuzz.guided TARGET` with libFuzzer's options. What is instrumented is the runtime, before it is
imported.
"""

import sys

import atheris

TARGET_AT = 1


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    with atheris.instrument_imports(include=["modelward_runtime"]):
        import e2e.fuzz.targets  # noqa: F401, PLC0415  registers them, instrumented
    from e2e.fuzz.bounds import Bounds  # noqa: PLC0415
    from e2e.fuzz.target import TARGETS  # noqa: PLC0415

    target = TARGETS[sys.argv.pop(TARGET_AT)]

    def run(data: bytes) -> None:
        with Bounds():
            target.run(data)

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
