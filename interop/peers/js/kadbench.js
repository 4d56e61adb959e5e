// `kadbench`: a DHT of many nodes in this one process, put and get measured (../README.md).
import { randomBytes } from 'node:crypto'
import { createKadNode } from './kad.js'

const VALUE_BYTES = 1024
const CONCURRENCY = 8
const WARM_UP_SHARE = 5
const READY_DEADLINE_MS = 120_000
const POLL_MS = 50
const OPERATION_DEADLINE_MS = 30_000

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Every server is connected to every other one, and the client to all of them; their tables hold each other. */
async function createNetwork (size) {
  const servers = []
  for (let i = 0; i < size; i++) {
    const server = await createKadNode({ serve: true })
    await meet(server, servers)
    servers.push(server)
  }
  const client = await createKadNode({ serve: false })
  await meet(client, servers)
  const start = performance.now()
  const known = (node) => node.services.kad.routingTable.size
  while (servers.some((server) => known(server) < size - 1) || known(client) < size) {
    if (performance.now() - start > READY_DEADLINE_MS) {
      throw new Error(`the routing tables hold ${[...servers, client].map(known)} after ${READY_DEADLINE_MS / 1000} s`)
    }
    await pause(POLL_MS)
  }
  return { servers, client }
}

async function meet (node, others) {
  for (const other of others) {
    await node.dial(other.getMultiaddrs())
  }
}

const randomValues = (count) => Array.from({ length: count }, () => ({
  key: Buffer.from(`/example/data/${randomBytes(16).toString('hex')}`),
  value: randomBytes(VALUE_BYTES)
}))

/** Run a put to its end; how many other nodes answered that they have the value. */
async function put (node, { key, value }) {
  let acknowledged = 0
  for await (const event of node.services.kad.put(key, value, { signal: AbortSignal.timeout(OPERATION_DEADLINE_MS) })) {
    if (event.name === 'PEER_RESPONSE' && event.messageType === 'PUT_VALUE' && event.record != null) {
      acknowledged++
    }
  }
  return acknowledged
}

/** Run a get to its end; whether the value it selected is the one that was put. */
async function get (node, { key, value }) {
  let found = null
  for await (const event of node.services.kad.get(key, { signal: AbortSignal.timeout(OPERATION_DEADLINE_MS) })) {
    if (event.name === 'VALUE') {
      found = event.value
    }
  }
  return found != null && value.equals(found)
}

/** Run `operate(number)` for all numbers below `n`, `concurrency` at once. */
async function measure (n, concurrency, operate) {
  const milliseconds = []
  let started = 0
  let ok = 0
  const worker = async () => {
    while (started < n) {
      const number = started++
      const begun = performance.now()
      const done = await operate(number).catch((error) => console.error(error))
      milliseconds.push(performance.now() - begun)
      ok += done === true ? 1 : 0
    }
  }
  const cpu = process.cpuUsage()
  const begun = performance.now()
  await Promise.all(Array.from({ length: concurrency }, worker))
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpu)
  milliseconds.sort((a, b) => a - b)
  return {
    n,
    ok,
    concurrency,
    seconds,
    cpu_seconds: (user + system) / 1e6,
    median_ms: median(milliseconds),
    p99_ms: milliseconds[Math.floor(0.99 * (n - 1))]
  }
}

const median = (sorted) => (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2

export async function kadbench ({ nodes, puts, gets }) {
  const begun = performance.now()
  const { servers, client } = await createNetwork(nodes)
  const readySeconds = (performance.now() - begun) / 1000
  const copies = []
  const putAll = (values) => measure(values.length, 1, async (number) => {
    const acknowledged = await put(servers[number % servers.length], values[number])
    copies.push(acknowledged + 1) // its own
    return acknowledged > 0
  })
  const getAll = (values, n, concurrency) => measure(n, concurrency, (number) => get(client, values[number % values.length]))

  const [warm, values] = [randomValues(Math.ceil(puts / WARM_UP_SHARE)), randomValues(puts)]
  await putAll(warm)
  copies.length = 0
  const put_ = await putAll(values)
  await getAll(warm, warm.length, 1)
  return {
    nodes,
    ready_seconds: readySeconds,
    put: put_,
    copies: [Math.min(...copies), Math.max(...copies)],
    get: await getAll(values, gets, 1),
    get_concurrent: await getAll(values, gets, CONCURRENCY)
  }
}
