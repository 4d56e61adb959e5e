// The js-libp2p peer of the interop harness: `listen`, `dial ADDR` and `bench ADDR METRIC` (../README.md).
import { parseArgs } from 'node:util'
import { multiaddr } from '@multiformats/multiaddr'
import { METRICS, bench } from './bench.js'
import { createNode, identified } from './node.js'
import { INTEROP, requestInterop } from './protocols.js'

const DIAL_DEADLINE_MS = 60_000
const BENCH_DEADLINE_MS = 600_000
const PINGS = 10
const TRANSFER_BYTES = 8 * 1024 * 1024
const USAGE = `usage: main.js listen
       main.js dial ADDR [--negotiation optimistic|classic]
       main.js bench ADDR ${METRICS.join('|')} [--n N] [--concurrency C] [--bytes B] [--streams S]`

const print = (event) => new Promise((resolve) => process.stdout.write(`${JSON.stringify(event)}\n`, resolve))

async function listen () {
  const node = await createNode({ listen: true })
  const [address] = node.getMultiaddrs()
  await print({ event: 'ready', addr: address.toString(), agent: node.services.identify.host.agentVersion })
  await new Promise((resolve) => {
    process.stdin.on('end', resolve).on('error', resolve).resume()
    process.on('SIGTERM', resolve)
  })
}

/** js-libp2p has no optimistic negotiation, so every choice of --negotiation is served by the classic one. */
async function dial (address, signal) {
  const node = await createNode()
  const identity = identified(node, signal)
  const connection = await node.dial(multiaddr(address), { signal })
  const { agentVersion, protocols } = await identity
  const pings = []
  for (let i = 0; i < PINGS; i++) {
    const start = performance.now()
    await node.services.ping.ping(connection.remotePeer, { signal })
    pings.push(Math.round((performance.now() - start) * 1000))
  }
  const stream = await connection.newStream(INTEROP, { signal })
  const transferred = await requestInterop(stream, TRANSFER_BYTES, TRANSFER_BYTES, signal)
  await connection.close({ signal })
  await node.stop()
  return {
    remote_peer: connection.remotePeer.toString(),
    agent: agentVersion,
    protocols,
    pings_us: pings,
    ...transferred,
    negotiation: 'classic'
  }
}

function parse (argv) {
  const { positionals, values } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      negotiation: { type: 'string', default: 'classic' },
      n: { type: 'string', default: '1000' },
      concurrency: { type: 'string', default: '1' },
      bytes: { type: 'string', default: String(256 * 1024 * 1024) },
      streams: { type: 'string', default: '1' }
    }
  })
  const counts = Object.fromEntries(['n', 'concurrency', 'bytes', 'streams'].map((name) => [name, Number(values[name])]))
  const [command, address, metric] = positionals
  const valid = {
    listen: positionals.length === 1,
    dial: positionals.length === 2 && ['optimistic', 'classic'].includes(values.negotiation),
    bench: positionals.length === 3 && METRICS.includes(metric) &&
      Object.values(counts).every((count) => Number.isSafeInteger(count) && count > 0)
  }
  if (valid[command] !== true) {
    throw new Error(USAGE)
  }
  return { command, address, metric, counts }
}

/** An AbortSignal reaches most waits of the library, not all of them: the race is the bound. */
async function within (milliseconds, work) {
  const signal = AbortSignal.timeout(milliseconds)
  const expired = new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error(`not done after ${milliseconds / 1000} s`)), milliseconds)
  })
  return Promise.race([work(signal), expired])
}

async function main () {
  const { command, address, metric, counts } = parse(process.argv.slice(2))
  if (command === 'listen') {
    return listen()
  }
  const result = command === 'dial'
    ? await within(DIAL_DEADLINE_MS, (signal) => dial(address, signal))
    : await within(BENCH_DEADLINE_MS, (signal) => bench(address, metric, counts, signal))
  return print({ event: 'done', ...result })
}

main().then(() => process.exit(0), async (error) => {
  console.error(error)
  await print({ event: 'error', message: `${error.name}: ${error.message}` })
  process.exit(1)
})
