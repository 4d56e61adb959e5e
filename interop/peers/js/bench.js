// What `bench` measures, against another peer's `listen`.
import { randomBytes } from 'node:crypto'
import { byteStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import { createNode, identified, open } from './node.js'
import { ECHO, PERF, requestEcho, requestPerf } from './protocols.js'

const PING = '/ipfs/ping/1.0.0'
const PING_BYTES = 32

const measures = {
  upload: (connection, counts, signal) => transfer(connection, counts, (share) => [share, 0], signal),
  download: (connection, counts, signal) => transfer(connection, counts, (share) => [0, share], signal),
  ping,
  streams
}

export const METRICS = [...Object.keys(measures), 'connections']

/** Seconds of wall clock and of this process's CPU that `work` took, beside what it returns. */
async function timed (work) {
  const cpu = process.cpuUsage()
  const start = performance.now()
  const result = await work()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { ...result, seconds, cpu_seconds: (user + system) / 1e6 }
}

/** Do `work` `n` times, `concurrency` at once. */
async function repeat (n, concurrency, work) {
  let started = 0
  const worker = async (_, index) => {
    while (started++ < n) {
      await work(index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(n, concurrency) }, worker))
}

async function transfer (connection, { bytes, streams }, split, signal) {
  const share = Math.floor(bytes / streams)
  await Promise.all(Array.from({ length: streams }, async () => {
    await requestPerf(await open(connection, PERF, signal), ...split(share), signal)
  }))
  return { bytes: share * streams, streams }
}

async function ping (connection, { n }, signal) {
  const stream = await open(connection, PING, signal)
  const bytes = byteStream(stream)
  const microseconds = []
  for (let i = 0; i < n; i++) {
    const payload = randomBytes(PING_BYTES)
    const start = performance.now()
    await bytes.write(payload, { signal })
    const pong = await bytes.read({ bytes: PING_BYTES, signal })
    microseconds.push((performance.now() - start) * 1000)
    if (!payload.equals(pong.subarray())) {
      throw new Error('the pong differs from the ping')
    }
  }
  await stream.close({ signal })
  microseconds.sort((a, b) => a - b)
  const quantile = (q) => Math.round(microseconds[Math.floor(q * (n - 1))])
  return { n, min_us: quantile(0), median_us: quantile(0.5), p99_us: quantile(0.99) }
}

async function streams (connection, { n, concurrency }, signal) {
  await repeat(n, concurrency, async () => requestEcho(await open(connection, ECHO, signal), signal))
  return { n, concurrency }
}

/** A node of its own for each of the concurrent dialers: one node would join their dials of one address. */
async function connections (address, { n, concurrency }, signal) {
  const nodes = await Promise.all(Array.from({ length: concurrency }, () => createNode()))
  return timed(async () => {
    await repeat(n, concurrency, async (index) => {
      const connection = await nodes[index].dial(address, { signal, force: true })
      await requestEcho(await open(connection, ECHO, signal), signal)
      await connection.close({ signal })
    })
    return { n, concurrency }
  })
}

export async function bench (address, metric, counts, signal) {
  const target = multiaddr(address)
  if (metric === 'connections') {
    return { metric, ...await connections(target, counts, signal) }
  }
  const node = await createNode()
  const identity = identified(node, signal)
  const connection = await node.dial(target, { signal })
  await identity
  return { metric, ...await timed(() => measures[metric](connection, counts, signal)) }
}
