//! What `bench` measures, against another peer's `listen`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum, value_parser};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    node::{Node, Options},
    protocols::{ECHO, PERF, request_echo, request_perf},
    streams::Control,
};

const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");
const PING_BYTES: usize = 32;

#[derive(Clone, Copy, ValueEnum)]
pub enum Metric {
    Upload,
    Download,
    Ping,
    Streams,
    Connections,
}

#[derive(Clone, Copy, Args)]
pub struct Counts {
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    n: u64,
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    concurrency: u64,
    #[arg(long, default_value_t = 256 << 20, value_parser = value_parser!(u64).range(1..))]
    bytes: u64,
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    streams: u64,
}

pub async fn run(address: Multiaddr, metric: Metric, counts: Counts) -> Result<Value> {
    let name = metric.to_possible_value().expect("no metric is hidden").get_name().to_owned();
    let measured = match metric {
        Metric::Connections => connections(address, counts).await?,
        _ => on_one_connection(address, metric, counts).await?,
    };
    let mut result = json!({"metric": name});
    result.as_object_mut().expect("an object").extend(measured.as_object().expect("an object").clone());
    Ok(result)
}

async fn on_one_connection(address: Multiaddr, metric: Metric, counts: Counts) -> Result<Value> {
    let mut node = Node::new(Options::default())?;
    let remote = node.connect(address).await?;
    node.identify_and_ping(1).await?;
    let control = node.control();
    let measured = timed(async {
        match metric {
            Metric::Upload => transfer(&control, remote, counts, (1, 0)).await,
            Metric::Download => transfer(&control, remote, counts, (0, 1)).await,
            Metric::Ping => pings(&control, remote, counts.n).await,
            Metric::Streams | Metric::Connections => echoes(&control, remote, counts).await,
        }
    });
    node.drive(measured).await
}

/// Add the seconds of wall clock and of this process's CPU that `work` took to what it returns.
async fn timed(work: impl Future<Output = Result<Value>>) -> Result<Value> {
    let (cpu, start) = (cpu_time(), Instant::now());
    let mut result = work.await?;
    result["seconds"] = start.elapsed().as_secs_f64().into();
    result["cpu_seconds"] = (cpu_time() - cpu).as_secs_f64().into();
    Ok(result)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Wait for all tasks; the first failure ends the others.
async fn all(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(outcome) = tasks.join_next().await {
        outcome??;
    }
    Ok(())
}

async fn transfer(control: &Control, remote: PeerId, counts: Counts, (up, down): (u64, u64)) -> Result<Value> {
    let share = counts.bytes / counts.streams;
    let mut tasks = JoinSet::new();
    for _ in 0..counts.streams {
        let control = control.clone();
        tasks.spawn(async move {
            let mut stream = control.open(remote, PERF).await?;
            request_perf(&mut stream, up * share, down * share).await
        });
    }
    all(tasks).await?;
    Ok(json!({"bytes": share * counts.streams, "streams": counts.streams}))
}

async fn pings(control: &Control, remote: PeerId, n: u64) -> Result<Value> {
    let mut stream = control.open(remote, PING).await?;
    let mut times = Vec::new();
    for index in 0..n {
        let mut payload = [0; PING_BYTES];
        payload[..8].copy_from_slice(&index.to_be_bytes());
        let start = Instant::now();
        stream.write_all(&payload).await?;
        stream.flush().await?;
        let mut pong = [0; PING_BYTES];
        stream.read_exact(&mut pong).await?;
        times.push(start.elapsed().as_micros() as u64);
        ensure!(pong == payload, "the pong differs from the ping");
    }
    stream.close().await?;
    times.sort_unstable();
    let quantile = |q: f64| times[(q * (n - 1) as f64) as usize];
    Ok(json!({"n": n, "min_us": quantile(0.0), "median_us": quantile(0.5), "p99_us": quantile(0.99)}))
}

/// Whether one more of `n` is to be started.
fn take(started: &AtomicU64, n: u64) -> bool {
    started.fetch_add(1, Ordering::Relaxed) < n
}

async fn echoes(control: &Control, remote: PeerId, counts: Counts) -> Result<Value> {
    let started = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..counts.concurrency {
        let (control, started) = (control.clone(), started.clone());
        tasks.spawn(async move {
            while take(&started, counts.n) {
                request_echo(control.open(remote, ECHO).await?).await?;
            }
            Ok(())
        });
    }
    all(tasks).await?;
    Ok(json!({"n": counts.n, "concurrency": counts.concurrency}))
}

/// A node of its own for each of the concurrent dialers, so that each dial is a connection of its own.
async fn connections(address: Multiaddr, counts: Counts) -> Result<Value> {
    let nodes = (0..counts.concurrency).map(|_| Node::new(Options::default())).collect::<Result<Vec<_>>>()?;
    timed(async {
        let started = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for mut node in nodes {
            let (address, started) = (address.clone(), started.clone());
            tasks.spawn(async move {
                while take(&started, counts.n) {
                    let remote = node.connect(address.clone()).await?;
                    let control = node.control();
                    node.drive(async { request_echo(control.open(remote, ECHO).await?).await }).await?;
                    node.disconnect(remote).await;
                }
                Ok(())
            });
        }
        all(tasks).await?;
        Ok(json!({"n": counts.n, "concurrency": counts.concurrency}))
    })
    .await
}
