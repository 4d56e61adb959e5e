// A js-libp2p node of TCP, Noise and yamux with its limits out of the way.
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { handlers } from './protocols.js'

const MANY = 100_000
const PING_STREAM_LIFE_MS = 600_000 // the library ends an inbound ping stream after 10 s, however busy it is
const unlimitedStreams = { maxInboundStreams: MANY, maxOutboundStreams: MANY }

export async function createNode ({ listen = false, services = {} } = {}) {
  const node = await createLibp2p({
    addresses: { listen: listen ? ['/ip4/127.0.0.1/tcp/0'] : [] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ ...unlimitedStreams, maxEarlyStreams: MANY })],
    connectionGater: { denyDialMultiaddr: () => false },
    connectionManager: {
      maxConnections: MANY,
      maxIncomingPendingConnections: MANY,
      inboundConnectionThreshold: MANY // per second and remote host, five by default
    },
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      ping: ping({ ...unlimitedStreams, timeout: PING_STREAM_LIFE_MS }),
      ...services
    }
  })
  for (const [protocol, handler] of Object.entries(handlers)) {
    await node.handle(protocol, handler, unlimitedStreams)
  }
  return node
}

/** Wait for the first identify message the node receives. */
export function identified (node, signal) {
  return new Promise((resolve, reject) => {
    node.addEventListener('peer:identify', (event) => resolve(event.detail), { once: true })
    signal.addEventListener('abort', () => reject(new Error('the remote did not identify itself')), { once: true })
  })
}

/** Open a stream that the limits of js-libp2p's dialling side do not count. */
export const open = (connection, protocol, signal) => connection.newStream(protocol, { signal, maxOutboundStreams: MANY })
