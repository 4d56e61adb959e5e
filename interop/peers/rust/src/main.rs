//! The rust-libp2p peer of the interop harness: `listen`, `dial ADDR`, `bench ADDR METRIC` and `kad ROLE`
//! (../README.md).

mod bench;
mod kad;
mod node;
mod protocols;
mod streams;

use std::{io::Write as _, process::exit, time::Duration};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use libp2p::{Multiaddr, kad::Mode, multiaddr::Protocol};
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::node::{Node, Options};

const DIAL_DEADLINE: Duration = Duration::from_secs(60);
const BENCH_DEADLINE: Duration = Duration::from_secs(600);
const KAD_DEADLINE: Duration = Duration::from_secs(45);
const PINGS: usize = 10;
const PING_INTERVAL: Duration = Duration::from_millis(10);
const TRANSFER_BYTES: u64 = 8 << 20;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Listen,
    Dial {
        address: Multiaddr,
        #[arg(long, default_value = "classic")]
        negotiation: Negotiation,
    },
    Bench {
        address: Multiaddr,
        metric: bench::Metric,
        #[command(flatten)]
        counts: bench::Counts,
    },
    Kad {
        #[command(subcommand)]
        role: kad::Role,
    },
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Negotiation {
    Optimistic,
    Classic,
}

#[tokio::main]
async fn main() {
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => run(arguments.command).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = outcome {
        eprintln!("{error:?}");
        print(&json!({"event": "error", "message": format!("{error:#}")}));
        exit(1);
    }
    exit(0); // a blocked read of stdin would keep the runtime from ending
}

async fn run(command: Command) -> Result<()> {
    let mut result = match command {
        Command::Listen => return listen().await,
        Command::Dial { address, negotiation } => timeout(DIAL_DEADLINE, dial(address, negotiation)).await??,
        Command::Bench { address, metric, counts } => {
            timeout(BENCH_DEADLINE, bench::run(address, metric, counts)).await??
        }
        Command::Kad { role: kad::Role::Bootstrap } => return kad_serve(None).await,
        Command::Kad { role: kad::Role::Provider(target) } => return kad_serve(Some(target)).await,
        Command::Kad { role: kad::Role::Querier(target) } => {
            timeout(KAD_DEADLINE, kad::Node::new(Mode::Client)?.query(target)).await?
        }
    };
    let failed = result["errors"].as_object().is_some_and(|errors| !errors.is_empty());
    result["event"] = "done".into();
    print(&result);
    if failed {
        exit(1);
    }
    Ok(())
}

/// Run a bootstrap, or a provider if there is a target, until stdin ends.
async fn kad_serve(target: Option<kad::Target>) -> Result<()> {
    let mut node = kad::Node::new(Mode::Server)?;
    let address = node.listen().await?;
    let event = match target {
        None => json!({"event": "ready", "addr": address, "agent": node.agent()}),
        Some(target) => {
            let mut outcome = timeout(KAD_DEADLINE, node.provide(target)).await?;
            outcome["event"] = "provided".into();
            outcome["addr"] = address.to_string().into();
            outcome
        }
    };
    print(&event);
    node.drive(stopped()?).await;
    Ok(())
}

fn print(event: &Value) {
    println!("{event}");
    std::io::stdout().flush().expect("stdout is open");
}

async fn listen() -> Result<()> {
    let mut node = Node::new(Options::default())?;
    let address = node.listen().await?.with(Protocol::P2p(node.peer_id()));
    print(&json!({"event": "ready", "addr": address, "agent": node.agent()}));
    node.drive(stopped()?).await;
    Ok(())
}

/// Ends when stdin ends or SIGTERM arrives.
fn stopped() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let stdin_closed = async {
            let mut byte = [0];
            while tokio::io::stdin().read(&mut byte).await.is_ok_and(|count| count > 0) {}
        };
        tokio::select! {
            _ = terminate.recv() => {}
            () = stdin_closed => {}
        }
    })
}

/// Prove the whole stack against a listener: identify, pings and one large verified exchange.
async fn dial(address: Multiaddr, negotiation: Negotiation) -> Result<Value> {
    let mut node =
        Node::new(Options { optimistic: negotiation == Negotiation::Optimistic, ping_interval: Some(PING_INTERVAL) })?;
    let remote = node.connect(address).await?;
    let (info, pings) = node.identify_and_ping(PINGS).await?;
    if info.public_key.to_peer_id() != remote {
        bail!("the identify message carries the key of another peer");
    }
    let control = node.control();
    node.drive(async {
        let mut stream = control.open(remote, protocols::INTEROP).await?;
        protocols::request_interop(&mut stream, TRANSFER_BYTES, TRANSFER_BYTES).await
    })
    .await?;
    node.disconnect(remote).await;
    Ok(json!({
        "remote_peer": remote.to_string(),
        "agent": info.agent_version,
        "protocols": info.protocols.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        "pings_us": pings.iter().map(|rtt| rtt.as_micros() as u64).collect::<Vec<_>>(),
        "uploaded": TRANSFER_BYTES,
        "downloaded": TRANSFER_BYTES,
        "verified": true,
        "half_closed": true,
        "negotiation": if negotiation == Negotiation::Optimistic { "optimistic" } else { "classic" },
    }))
}
