// The Kademlia roles on `/ipfs/kad/1.0.0` (../README.md): bootstrap, provider and querier.
import { randomBytes } from 'node:crypto'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { createNode } from './node.js'

export const ROLES = ['bootstrap', 'provider', 'querier']

const PROTOCOL = '/ipfs/kad/1.0.0'
const NAMESPACE = 'example'
const VALUE = 'hello from js'
const OPERATION_DEADLINE_MS = 8_000
const SHA2_256_PREFIX = Buffer.from('1220', 'hex')

/** The default mapper drops loopback addresses, and the default mode is the client's. */
export const createKadNode = ({ serve }) => createNode({
  listen: serve,
  services: {
    kad: kadDHT({
      protocol: PROTOCOL,
      clientMode: !serve,
      peerInfoMapper: passthroughMapper,
      validators: { [NAMESPACE]: async () => {} },
      selectors: { [NAMESPACE]: () => 0 }
    })
  }
})

const multihashCid = (hex) => CID.createV0(Digest.decode(Buffer.from(hex, 'hex')))

/** Run a query to its end; return its events, those of failed requests apart. */
async function run (query) {
  const [events, failures] = [[], []]
  for await (const event of query) {
    if (event.name === 'QUERY_ERROR') {
      failures.push(event.error.message)
    } else {
      events.push(event)
    }
  }
  return { events, failures }
}

/** What `work` returns, or null and its error under `name`. */
async function attempt (name, errors, work) {
  try {
    return await work({ signal: AbortSignal.timeout(OPERATION_DEADLINE_MS) })
  } catch (error) {
    console.error(error)
    errors[name] = `${error.name}: ${error.message}`
    return null
  }
}

/** A write counts when at least one other peer answered (PUT_VALUE) or was told (ADD_PROVIDER). */
async function write (query, messageType) {
  const { events, failures } = await run(query)
  const done = events.filter((event) => event.name === 'PEER_RESPONSE' && event.messageType === messageType)
  if (done.length === 0) {
    throw new Error(`no peer took ${messageType}: ${failures.join('; ') || 'none was found'}`)
  }
  return true
}

export async function provide (node, bootstrap, keyHex, multihashHex) {
  const { kad } = node.services
  const errors = {}
  await attempt('connect', errors, (options) => node.dial(multiaddr(bootstrap), options))
  await attempt('provide', errors, (options) => write(kad.provide(multihashCid(multihashHex), options), 'ADD_PROVIDER'))
  const put = await attempt('put', errors, (options) =>
    write(kad.put(Buffer.from(keyHex, 'hex'), Buffer.from(VALUE), options), 'PUT_VALUE'))
  return { put: put === true, put_error: errors.put ?? null, errors, unsupported: {} }
}

export async function query (node, bootstrap, keyHex, multihashHex) {
  const { kad } = node.services
  const errors = {}
  await attempt('connect', errors, (options) => node.dial(multiaddr(bootstrap), options))
  const found = await attempt('find_node', errors, async (options) => {
    const randomId = Buffer.concat([SHA2_256_PREFIX, randomBytes(32)])
    const { events, failures } = await run(kad.getClosestPeers(randomId, options))
    const count = events.filter((event) => event.name === 'FINAL_PEER').length
    if (count === 0) {
      throw new Error(`no peers: ${failures.join('; ')}`)
    }
    return count
  })
  const providers = await attempt('providers', errors, async (options) => {
    const { events, failures } = await run(kad.findProviders(multihashCid(multihashHex), options))
    const ids = events.filter((event) => event.name === 'PROVIDER').flatMap((event) => event.providers.map(({ id }) => id.toString()))
    if (ids.length === 0) {
      throw new Error(`no providers: ${failures.join('; ')}`)
    }
    return ids
  })
  const value = await attempt('value', errors, async (options) => {
    const { events, failures } = await run(kad.get(Buffer.from(keyHex, 'hex'), options))
    const got = events.findLast((event) => event.name === 'VALUE')
    if (got == null) {
      throw new Error(`no value: ${failures.join('; ')}`)
    }
    return Buffer.from(got.value).toString()
  })
  return { find_node: found ?? 0, providers: providers ?? [], value, errors, unsupported: {} }
}
