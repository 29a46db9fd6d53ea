"""Other servers of the protocol, asked the same rules: `python -m e2e.conformance.peers run NAME`.

`catalogue.py` says what each is and how it is started, `onnx_model.py` is what their adapters share (`mlserver_runtime.py`,
`kserve_server.py`), and `asking.py` serves the models from the environments of `e2e/peers/`, asks and writes `reports/NAME.json`.
`results.py`, above, makes RESULTS.md from the reports.
"""
