//! A swarm of TCP, Noise and yamux with its limits out of the way.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    core::upgrade::Version,
    identify, noise, ping,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};

use crate::streams;

const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const MAX_STREAMS: usize = 4096; // what fits the default receive window of one connection
const IDENTIFY_VERSION: &str = "ipfs/0.1.0";

#[derive(Default)]
pub struct Options {
    /// Negotiate protocols of streams with `Version::V1Lazy` instead of the library's default, `Version::V1`.
    pub optimistic: bool,
    /// How often the library pings its peers, 15 s by default.
    pub ping_interval: Option<Duration>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: streams::Behaviour,
}

pub struct Node {
    swarm: Swarm<Behaviour>,
    control: streams::Control,
    agent: String,
}

impl Node {
    pub fn new(options: Options) -> Result<Self> {
        let (streams, control) = streams::new();
        let mut ping = ping::Config::new();
        if let Some(interval) = options.ping_interval {
            ping = ping.with_interval(interval);
        }
        let mut agent = String::new();
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, || {
                let mut config = yamux::Config::default();
                config.set_max_num_streams(MAX_STREAMS);
                config
            })?
            .with_behaviour(|key| {
                let identify = identify::Config::new(IDENTIFY_VERSION.to_owned(), key.public());
                agent = identify.agent_version().to_owned();
                Behaviour { identify: identify::Behaviour::new(identify), ping: ping::Behaviour::new(ping), streams }
            })?
            .with_swarm_config(|config| {
                let config =
                    config.with_idle_connection_timeout(IDLE_TIMEOUT).with_max_negotiating_inbound_streams(MAX_STREAMS);
                if options.optimistic {
                    config.with_substream_upgrade_protocol_override(Version::V1Lazy)
                } else {
                    config
                }
            })
            .build();
        Ok(Self { swarm, control, agent })
    }

    pub fn peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    pub fn agent(&self) -> &str {
        &self.agent
    }

    pub fn control(&self) -> streams::Control {
        self.control.clone()
    }

    pub async fn listen(&mut self) -> Result<Multiaddr> {
        self.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => return Ok(address),
                SwarmEvent::ListenerError { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
    }

    /// Dial the address; return the authenticated peer there.
    pub async fn connect(&mut self, address: Multiaddr) -> Result<PeerId> {
        self.swarm.dial(address)?;
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => return Ok(peer_id),
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
    }

    /// Wait until the peer has identified itself and answered `count` of the library's own pings.
    pub async fn identify_and_ping(&mut self, count: usize) -> Result<(identify::Info, Vec<Duration>)> {
        let mut identified = None;
        let mut pings = Vec::new();
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { info, .. })) => {
                    identified = Some(info);
                }
                SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Error { error, .. })) => {
                    return Err(anyhow!(error).context("identify"));
                }
                SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { result, .. })) => pings.push(result?),
                SwarmEvent::ConnectionClosed { cause, .. } => bail!("the connection closed: {cause:?}"),
                _ => {}
            }
            if pings.len() >= count
                && let Some(info) = identified.take()
            {
                pings.truncate(count);
                return Ok((info, pings));
            }
        }
    }

    /// Keep the swarm going while `work` is under way.
    pub async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::IncomingConnectionError { error, .. } = event {
                        eprintln!("incoming connection: {error}");
                    }
                }
            }
        }
    }

    /// Close the connection and wait until it is closed.
    pub async fn disconnect(&mut self, peer: PeerId) {
        if self.swarm.disconnect_peer_id(peer).is_err() {
            return; // closed already
        }
        while !matches!(self.swarm.select_next_some().await, SwarmEvent::ConnectionClosed { peer_id, .. } if peer_id == peer)
        {
        }
    }
}
