// One room on Bun's WebSocket server (µWebSockets inside). Usage: bun server.js PORT BODY_BYTES
//
// `server.publish` gathers what is published within one turn of the loop and sends it with one
// system call for each connection; a burst therefore costs about as much as one broadcast.

const [port, bodyBytes] = process.argv.slice(2).map(Number);
const message = Buffer.alloc(bodyBytes, "t");

const server = Bun.serve({
  hostname: "0.0.0.0",
  port,
  reusePort: false,
  fetch(request, server) {
    if (!server.upgrade(request)) return new Response("WebSocket only\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    sendPings: false,
    open(socket) {
      socket.subscribe("room");
    },
    message() {},
  },
});

console.log(`ready ${server.port}`);
for await (const line of console) {
  const [command, count] = line.split(" ");
  if (command !== "b") continue;
  for (let sent = 0; sent < Number(count); sent += 1) server.publish("room", message);
  console.log("done");
}
process.exit(0);
