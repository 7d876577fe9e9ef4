// What a test suite in JavaScript does with toxiproxy's published client.
import assert from "node:assert";
import net from "node:net";
import { createRequire } from "node:module";

const { Toxiproxy } = createRequire(import.meta.url)("toxiproxy-node-client");

const server = net.createServer((client) => {
  client.on("error", () => {});
  client.pipe(client);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const upstream = `127.0.0.1:${server.address().port}`;

// The time of a round trip over a connection of its own, or the error that ended it.
const roundTrip = (listen) =>
  new Promise((done) => {
    const begin = performance.now();
    const [host, port] = listen.split(":");
    const client = net.connect(Number(port), host, () => client.write("ping"));
    const end = (what) => (client.destroy(), done(what));
    client.on("data", () => end(performance.now() - begin));
    client.on("error", (error) => end(error.code));
    client.on("close", () => end("closed"));
  });

const toxiproxy = new Toxiproxy(process.argv[2]);
assert.match(await toxiproxy.getVersion(), /"version": "2\./);

const proxy = await toxiproxy.createProxy({ name: "echo", listen: "127.0.0.1:0", upstream });
assert.match(proxy.listen, /^127\.0\.0\.1:[1-9]/);
assert.strictEqual(proxy.enabled, true);
assert.strictEqual(typeof (await roundTrip(proxy.listen)), "number");
await assert.rejects(toxiproxy.createProxy({ name: "echo", listen: "127.0.0.1:0", upstream }), /code 409/);
await assert.rejects(toxiproxy.get("nobody"), /code 404/);

const latency = await proxy.addToxic({ type: "latency", attributes: { latency: 200, jitter: 0 } });
assert.deepStrictEqual([latency.name, latency.stream, latency.toxicity], ["latency_downstream", "downstream", 1]);
assert.ok((await roundTrip(proxy.listen)) >= 200);
const slower = await latency.update({ attributes: { latency: 400 } });
assert.deepStrictEqual(slower.attributes, { latency: 400, jitter: 0 });
assert.ok((await roundTrip(proxy.listen)) >= 400);
assert.strictEqual((await proxy.getToxic("latency_downstream")).attributes.latency, 400);
await assert.rejects(proxy.addToxic({ type: "latency", attributes: {} }), /code 409/);
await assert.rejects(proxy.addToxic({ type: "nonsense", attributes: {} }), /code 400/);
await slower.remove();
assert.ok((await roundTrip(proxy.listen)) < 200);

await proxy.addToxic({ type: "reset_peer", name: "gone", stream: "upstream", attributes: { timeout: 0 } });
assert.strictEqual(await roundTrip(proxy.listen), "ECONNRESET");
await toxiproxy.reset();
assert.strictEqual(typeof (await roundTrip(proxy.listen)), "number");

const off = await proxy.update({ enabled: false, listen: proxy.listen, upstream });
assert.strictEqual(off.enabled, false);
assert.strictEqual(await roundTrip(proxy.listen), "ECONNREFUSED");
await toxiproxy.reset();
assert.strictEqual(typeof (await roundTrip(proxy.listen)), "number");

const made = await toxiproxy.populate([{ name: "echo", listen: proxy.listen, upstream }, { name: "other", listen: "127.0.0.1:0", upstream }]);
assert.deepStrictEqual(Object.keys(made).sort(), ["echo", "other"]);
assert.deepStrictEqual(Object.keys(await toxiproxy.getAll()).sort(), ["echo", "other"]);
await made.other.remove();
await assert.rejects(toxiproxy.get("other"), /code 404/);
server.close();
