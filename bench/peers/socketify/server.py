"""One room on socketify (µWebSockets under Python). Usage: server.py PORT BODY_BYTES"""

import sys
import threading

from socketify import App, AppListenOptions, CompressOptions, OpCode

port, body_bytes = int(sys.argv[1]), int(sys.argv[2])
message = b"t" * body_bytes

app = App()
app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 4096,
        "idle_timeout": 0,
        "send_pings_automatically": False,
        "open": lambda socket: socket.subscribe("room"),
    },
)


def broadcast(count):
    for _ in range(count):
        app.publish("room", message, OpCode.BINARY)
    print("done", flush=True)


def obey():
    for line in sys.stdin:
        command, count = line.split()
        if command == "b":
            app.loop.loop.call_soon_threadsafe(broadcast, int(count))
    app.loop.loop.call_soon_threadsafe(app.close)


def listening(config):
    print(f"ready {config.port}", flush=True)
    threading.Thread(target=obey, daemon=True).start()


app.listen(AppListenOptions(port=port, host="0.0.0.0"), listening)
app.run()
