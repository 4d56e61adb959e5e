// The three test protocols (../README.md), both sides of each.
import { createHash, hash } from 'node:crypto'
import { byteStream } from '@libp2p/utils'

export const INTEROP = '/peerstack/interop/1.0.0'
export const PERF = '/perf/1.0.0'
export const ECHO = '/peerstack/bench-echo/1.0.0'
export const ECHO_BYTES = 64

const HEADER_BYTES = 16
const HASH_BYTES = 32
const CHUNK_BYTES = 64 * 1024
const MAX_TRANSFER_BYTES = 64n * 1024n * 1024n
const STREAM_DEADLINE_MS = 600_000
const ZEROS = new Uint8Array(CHUNK_BYTES)

/** SHA-256(u64 BE 0) || SHA-256(u64 BE 1) || ... */
class Pattern {
  #counter = 0n
  #rest = Buffer.alloc(0)

  take (length) {
    const blocks = [this.#rest]
    const index = Buffer.alloc(8)
    for (let have = this.#rest.length; have < length; have += HASH_BYTES) {
      index.writeBigUInt64BE(this.#counter++)
      blocks.push(hash('sha256', index, 'buffer'))
    }
    const joined = Buffer.concat(blocks)
    this.#rest = joined.subarray(length)
    return joined.subarray(0, length)
  }
}

/** Cut `total` bytes of `source(length)` into chunks. */
function * chunks (total, source) {
  for (let left = total; left > 0; left -= CHUNK_BYTES) {
    yield source(Math.min(left, CHUNK_BYTES))
  }
}

async function sendPattern (bytes, total, signal) {
  const pattern = new Pattern()
  for (const chunk of chunks(total, (length) => pattern.take(length))) {
    await bytes.write(chunk, { signal })
  }
}

/** Read until no more bytes come; return how many came. */
async function drain (bytes, signal, onChunk = () => {}) {
  let count = 0
  for (let list = await bytes.read({ signal }); list !== null; list = await bytes.read({ signal })) {
    count += list.byteLength
    for (const chunk of list) {
      onChunk(chunk, count)
    }
  }
  return count
}

/** A reset between two reads looks like the end to a byte stream. */
function assertNotReset (stream) {
  if (stream.status === 'reset' || stream.status === 'aborted') {
    throw new Error('the stream was reset, not closed')
  }
}

/** Read to the end of the stream; fail unless it carried exactly `total` bytes of the pattern. */
async function receivePattern (bytes, total, signal, onChunk = () => {}) {
  const pattern = new Pattern()
  const count = await drain(bytes, signal, (chunk, soFar) => {
    if (soFar > total) {
      throw new Error(`more than the ${total} bytes announced`)
    }
    if (!pattern.take(chunk.byteLength).equals(chunk)) {
      throw new Error(`content differs before byte ${soFar}`)
    }
    onChunk(chunk)
  })
  if (count !== total) {
    throw new Error(`stream ended after ${count} of ${total} bytes`)
  }
}

/** The dialer's side: `upload` bytes of the pattern up, half-close, their hash and `download` bytes back. */
export async function requestInterop (stream, upload, download, signal) {
  const bytes = byteStream(stream)
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeBigUInt64BE(BigInt(upload))
  header.writeBigUInt64BE(BigInt(download), 8)
  await bytes.write(header, { signal })
  await sendPattern(bytes, upload, signal)
  await stream.close({ signal })
  const digest = (await bytes.read({ bytes: HASH_BYTES, signal })).subarray()
  const expected = createHash('sha256').update(new Pattern().take(upload)).digest()
  if (!expected.equals(digest)) {
    throw new Error('the hash of the upload differs')
  }
  await receivePattern(bytes, download, signal)
  assertNotReset(stream)
  return { uploaded: upload, downloaded: download, verified: true, half_closed: true }
}

async function serveInterop (stream, signal) {
  const bytes = byteStream(stream)
  const header = Buffer.from((await bytes.read({ bytes: HEADER_BYTES, signal })).subarray())
  const [upload, download] = [header.readBigUInt64BE(), header.readBigUInt64BE(8)]
  if (upload > MAX_TRANSFER_BYTES || download > MAX_TRANSFER_BYTES) {
    throw new Error(`${upload} bytes up and ${download} down: the limit is ${MAX_TRANSFER_BYTES}`)
  }
  const digest = createHash('sha256')
  await receivePattern(bytes, Number(upload), signal, (chunk) => digest.update(chunk))
  await bytes.write(digest.digest(), { signal })
  await sendPattern(bytes, Number(download), signal)
}

/** https://github.com/libp2p/specs/blob/master/perf/perf.md */
export async function requestPerf (stream, upload, download, signal) {
  const bytes = byteStream(stream)
  const header = Buffer.alloc(8)
  header.writeBigUInt64BE(BigInt(download))
  await bytes.write(header, { signal })
  for (const chunk of chunks(upload, (length) => ZEROS.subarray(0, length))) {
    await bytes.write(chunk, { signal })
  }
  await stream.close({ signal })
  const received = await drain(bytes, signal)
  assertNotReset(stream)
  if (received !== download) {
    throw new Error(`stream ended after ${received} of ${download} bytes`)
  }
}

async function servePerf (stream, signal) {
  const bytes = byteStream(stream)
  const header = Buffer.from((await bytes.read({ bytes: 8, signal })).subarray())
  await drain(bytes, signal)
  for (const chunk of chunks(Number(header.readBigUInt64BE()), (length) => ZEROS.subarray(0, length))) {
    await bytes.write(chunk, { signal })
  }
}

/** One small request and answer; both sides close. */
export async function requestEcho (stream, signal) {
  const bytes = byteStream(stream)
  await bytes.write(ZEROS.subarray(0, ECHO_BYTES), { signal })
  await bytes.read({ bytes: ECHO_BYTES, signal })
  await stream.close({ signal })
}

async function serveEcho (stream, signal) {
  const bytes = byteStream(stream)
  await bytes.write(await bytes.read({ bytes: ECHO_BYTES, signal }), { signal })
}

/** Run a handler, then close the stream, or reset it if the handler failed. */
function bounded (handler) {
  return async (stream) => {
    const signal = AbortSignal.timeout(STREAM_DEADLINE_MS)
    try {
      await handler(stream, signal)
      await stream.close({ signal })
    } catch (error) {
      console.error(`${stream.protocol}: ${error.message}`)
      stream.abort(error)
    }
  }
}

export const handlers = {
  [INTEROP]: bounded(serveInterop),
  [PERF]: bounded(servePerf),
  [ECHO]: bounded(serveEcho)
}
