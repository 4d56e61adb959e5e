//! The three test protocols (../README.md), both sides of each.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{Stream, StreamProtocol};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

pub const INTEROP: StreamProtocol = StreamProtocol::new("/peerstack/interop/1.0.0");
pub const PERF: StreamProtocol = StreamProtocol::new("/perf/1.0.0");
pub const ECHO: StreamProtocol = StreamProtocol::new("/peerstack/bench-echo/1.0.0");
pub const SERVED: [StreamProtocol; 3] = [INTEROP, PERF, ECHO];

const CHUNK_BYTES: usize = 64 << 10;
const ECHO_BYTES: usize = 64;
const HASH_BYTES: usize = 32;
const MAX_TRANSFER_BYTES: u64 = 64 << 20;
const STREAM_DEADLINE: Duration = Duration::from_secs(600);
static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// Serve one inbound stream, then close it; one whose handler fails is dropped open, which resets it.
pub async fn serve(mut stream: Stream, protocol: StreamProtocol) {
    let serving = async {
        if protocol == INTEROP {
            serve_interop(&mut stream).await?;
        } else if protocol == PERF {
            serve_perf(&mut stream).await?;
        } else {
            serve_echo(&mut stream).await?;
        }
        anyhow::Ok(stream.close().await?)
    };
    match timeout(STREAM_DEADLINE, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => eprintln!("{protocol}: {error:#}"),
        Err(_) => eprintln!("{protocol}: not done after {STREAM_DEADLINE:?}"),
    }
}

/// SHA-256(u64 BE 0) || SHA-256(u64 BE 1) || ...
#[derive(Default)]
struct Pattern {
    counter: u64,
    rest: Vec<u8>,
}

impl Pattern {
    fn fill(&mut self, into: &mut [u8]) {
        let kept = self.rest.len().min(into.len());
        into[..kept].copy_from_slice(&self.rest[..kept]);
        self.rest.drain(..kept);
        for piece in into[kept..].chunks_mut(HASH_BYTES) {
            let block = Sha256::digest(self.counter.to_be_bytes());
            self.counter += 1;
            piece.copy_from_slice(&block[..piece.len()]);
            self.rest.extend_from_slice(&block[piece.len()..]);
        }
    }
}

/// Write `total` bytes of the pattern; return their hash.
async fn send_pattern(stream: &mut Stream, total: u64) -> Result<[u8; HASH_BYTES]> {
    let (mut pattern, mut digest) = (Pattern::default(), Sha256::new());
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = total;
    while left > 0 {
        let size = left.min(CHUNK_BYTES as u64) as usize;
        pattern.fill(&mut chunk[..size]);
        digest.update(&chunk[..size]);
        stream.write_all(&chunk[..size]).await?;
        left -= size as u64;
    }
    Ok(digest.finalize().into())
}

/// Read to the end; fail unless exactly `total` bytes of the pattern came. Return their hash.
async fn receive_pattern(stream: &mut Stream, total: u64) -> Result<[u8; HASH_BYTES]> {
    let (mut pattern, mut digest) = (Pattern::default(), Sha256::new());
    let (mut chunk, mut expected) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut received = 0;
    loop {
        let size = stream.read(&mut chunk).await?;
        if size == 0 {
            ensure!(received == total, "stream ended after {received} of {total} bytes");
            return Ok(digest.finalize().into());
        }
        received += size as u64;
        ensure!(received <= total, "more than the {total} bytes announced");
        pattern.fill(&mut expected[..size]);
        ensure!(chunk[..size] == expected[..size], "content differs before byte {received}");
        digest.update(&chunk[..size]);
    }
}

/// The dialer's side: the pattern up, half-close, its hash and the pattern back.
pub async fn request_interop(stream: &mut Stream, upload: u64, download: u64) -> Result<()> {
    let mut header = [0; 16];
    header[..8].copy_from_slice(&upload.to_be_bytes());
    header[8..].copy_from_slice(&download.to_be_bytes());
    stream.write_all(&header).await?;
    let digest = send_pattern(stream, upload).await?;
    stream.close().await?;
    let mut answer = [0; HASH_BYTES];
    stream.read_exact(&mut answer).await?;
    ensure!(answer == digest, "the hash of the upload differs");
    receive_pattern(stream, download).await?;
    Ok(())
}

async fn serve_interop(stream: &mut Stream) -> Result<()> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).await?;
    let (upload, download) = header.split_at(8);
    let (upload, download) = (u64::from_be_bytes(upload.try_into()?), u64::from_be_bytes(download.try_into()?));
    if upload.max(download) > MAX_TRANSFER_BYTES {
        bail!("{upload} bytes up and {download} down: the limit is {MAX_TRANSFER_BYTES}");
    }
    let digest = receive_pattern(stream, upload).await?;
    stream.write_all(&digest).await?;
    send_pattern(stream, download).await?;
    Ok(())
}

async fn send_zeros(stream: &mut Stream, total: u64) -> Result<()> {
    let mut left = total;
    while left > 0 {
        let size = left.min(CHUNK_BYTES as u64);
        stream.write_all(&ZEROS[..size as usize]).await?;
        left -= size;
    }
    Ok(())
}

/// Read to the end of the stream; return how many bytes came.
async fn drain(stream: &mut Stream) -> Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut received = 0;
    loop {
        match stream.read(&mut chunk).await? {
            0 => return Ok(received),
            size => received += size as u64,
        }
    }
}

/// The client of <https://github.com/libp2p/specs/blob/master/perf/perf.md>.
pub async fn request_perf(stream: &mut Stream, upload: u64, download: u64) -> Result<()> {
    stream.write_all(&download.to_be_bytes()).await?;
    send_zeros(stream, upload).await?;
    stream.close().await?;
    let received = drain(stream).await?;
    ensure!(received == download, "stream ended after {received} of {download} bytes");
    Ok(())
}

async fn serve_perf(stream: &mut Stream) -> Result<()> {
    let mut header = [0; 8];
    stream.read_exact(&mut header).await?;
    drain(stream).await?;
    send_zeros(stream, u64::from_be_bytes(header)).await
}

/// One small request and answer; both sides close.
pub async fn request_echo(mut stream: Stream) -> Result<()> {
    stream.write_all(&ZEROS[..ECHO_BYTES]).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0; ECHO_BYTES]).await?;
    Ok(stream.close().await?)
}

async fn serve_echo(stream: &mut Stream) -> Result<()> {
    let mut request = [0; ECHO_BYTES];
    stream.read_exact(&mut request).await?;
    Ok(stream.write_all(&request).await?)
}
