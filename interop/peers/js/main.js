// The js-libp2p peer of the interop harness: `listen`, `dial ADDR`, `bench ADDR METRIC`, `kad ROLE` and `kadbench` (../README.md).
import { parseArgs } from 'node:util'
import { multiaddr } from '@multiformats/multiaddr'
import { METRICS, bench } from './bench.js'
import { ROLES, createKadNode, provide, query } from './kad.js'
import { kadbench } from './kadbench.js'
import { createNode, identified } from './node.js'
import { INTEROP, requestInterop } from './protocols.js'

const DIAL_DEADLINE_MS = 60_000
const BENCH_DEADLINE_MS = 600_000
const KAD_DEADLINE_MS = 45_000
const PINGS = 10
const TRANSFER_BYTES = 8 * 1024 * 1024
const USAGE = `usage: main.js listen
       main.js dial ADDR [--negotiation optimistic|classic]
       main.js bench ADDR ${METRICS.join('|')} [--n N] [--concurrency C] [--bytes B] [--streams S]
       main.js kad bootstrap
       main.js kad provider|querier ADDR KEY_HEX MULTIHASH_HEX
       main.js kadbench [--nodes N] [--puts N] [--gets N]`

const print = (event) => new Promise((resolve) => process.stdout.write(`${JSON.stringify(event)}\n`, resolve))

async function listen () {
  const node = await createNode({ listen: true })
  const [address] = node.getMultiaddrs()
  await print({ event: 'ready', addr: address.toString(), agent: node.services.identify.host.agentVersion })
  await stopped()
}

const stopped = () => new Promise((resolve) => {
  process.stdin.on('end', resolve).on('error', resolve).resume()
  process.on('SIGTERM', resolve)
})

/** Serve until stdin ends, having announced and put first if a provider; a querier returns what it found. */
async function kad (role, ...rest) {
  const node = await createKadNode({ serve: role !== 'querier' })
  if (role === 'querier') {
    return within(KAD_DEADLINE_MS, () => query(node, ...rest))
  }
  const addr = node.getMultiaddrs()[0].toString()
  if (role === 'bootstrap') {
    await print({ event: 'ready', addr, agent: node.services.identify.host.agentVersion })
  } else {
    await print({ event: 'provided', addr, ...await within(KAD_DEADLINE_MS, () => provide(node, ...rest)) })
  }
  await stopped()
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
      streams: { type: 'string', default: '1' },
      nodes: { type: 'string', default: '20' },
      puts: { type: 'string', default: '40' },
      gets: { type: 'string', default: '40' }
    }
  })
  const numbers = ['n', 'concurrency', 'bytes', 'streams', 'nodes', 'puts', 'gets']
  const counts = Object.fromEntries(numbers.map((name) => [name, Number(values[name])]))
  const counted = Object.values(counts).every((count) => Number.isSafeInteger(count) && count > 0)
  const [command, address, metric] = positionals
  const valid = {
    listen: positionals.length === 1,
    dial: positionals.length === 2 && ['optimistic', 'classic'].includes(values.negotiation),
    bench: positionals.length === 3 && METRICS.includes(metric) && counted,
    kad: ROLES.includes(address) && positionals.length === (address === 'bootstrap' ? 2 : 5),
    kadbench: positionals.length === 1 && counted
  }
  if (valid[command] !== true) {
    throw new Error(USAGE)
  }
  return { command, address, metric, counts, kadArguments: positionals.slice(1) }
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
  const { command, address, metric, counts, kadArguments } = parse(process.argv.slice(2))
  const work = {
    listen,
    dial: () => within(DIAL_DEADLINE_MS, (signal) => dial(address, signal)),
    bench: () => within(BENCH_DEADLINE_MS, (signal) => bench(address, metric, counts, signal)),
    kad: () => kad(...kadArguments),
    kadbench: () => within(BENCH_DEADLINE_MS, () => kadbench(counts))
  }
  const result = await work[command]()
  if (result !== undefined) {
    await print({ event: 'done', ...result })
  }
  return Object.keys(result?.errors ?? {}).length === 0 ? 0 : 1
}

main().then((code) => process.exit(code), async (error) => {
  console.error(error)
  await print({ event: 'error', message: `${error.name}: ${error.message}` })
  process.exit(1)
})
