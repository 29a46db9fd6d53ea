"""The script of a client pod that calls a model without pause and counts: what a rolling update must not disturb.

Half of its threads keep their connection, half open one for each request. Twice a second it prints one JSON line with all
counts so far. It runs in the pod by itself, so it imports nothing of ours.
"""

SCRIPT = r"""
import collections, http.client, json, sys, threading, time

host, model = sys.argv[1:3]
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]})
counts, failures, lock = collections.Counter(), [], threading.Lock()


def ask(connection):
    connection.request("POST", f"/v2/models/{model}/infer", BODY, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {text[:200]!r}")
    told = json.loads(text)
    return f'{told["model_version"]}:{told["outputs"][0]["data"][0]:g}'


def call(keep):
    connection = http.client.HTTPConnection(host, 8080, timeout=10)
    while True:
        try:
            key = ask(connection)
        except Exception as error:
            with lock:
                counts["failed"] += 1
                failures.append(f"{time.strftime('%H:%M:%S')} {'kept' if keep else 'fresh'}: {error!r}")
            connection.close()
        else:
            with lock:
                counts["answered"] += 1
                counts[key] += 1
        if not keep:
            connection.close()
        time.sleep(0.01)


for n in range(4):
    threading.Thread(target=call, args=(n % 2 == 0,), daemon=True).start()
while True:
    time.sleep(0.5)
    with lock:
        print(json.dumps({"counts": counts, "failures": failures[-5:]}), flush=True)
"""
