//! The Kademlia roles on `/ipfs/kad/1.0.0` (../README.md): bootstrap, provider and querier.
//!
//! The library has no validators: it stores and returns any record.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify,
    kad::{
        self, GetProvidersOk, GetRecordOk, Mode, QueryId, QueryResult, Quorum, Record, RecordKey, RoutingUpdate,
        store::MemoryStore,
    },
    multiaddr::Protocol,
    noise, ping,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use serde_json::{Value, json};
use tokio::time::timeout;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");
const IDENTIFY_VERSION: &str = "ipfs/0.1.0";
const VALUE: &[u8] = b"hello from rust";
const OPERATION_DEADLINE: Duration = Duration::from_secs(8);
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

#[derive(Subcommand)]
pub enum Role {
    Bootstrap,
    Provider(Target),
    Querier(Target),
}

/// Where a provider or a querier begins, and what it is about.
#[derive(clap::Args)]
pub struct Target {
    bootstrap: Multiaddr,
    #[arg(value_parser = unhex)]
    key: RecordKey,
    #[arg(value_parser = unhex)]
    multihash: RecordKey,
}

fn unhex(text: &str) -> Result<RecordKey, String> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err("not an even number of hexadecimal digits".to_owned());
    }
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    bytes.collect::<Result<Vec<u8>, _>>().map(RecordKey::from).map_err(|error| error.to_string())
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
    ping: ping::Behaviour,
}

/// What went wrong, by operation.
type Errors = BTreeMap<&'static str, String>;

pub struct Node {
    swarm: Swarm<Behaviour>,
    agent: String,
    errors: Errors,
}

impl Node {
    pub fn new(mode: Mode) -> Result<Self> {
        let mut agent = String::new();
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key| {
                let identify = identify::Config::new(IDENTIFY_VERSION.to_owned(), key.public());
                agent = identify.agent_version().to_owned();
                let id = key.public().to_peer_id();
                let mut kad = kad::Behaviour::with_config(id, MemoryStore::new(id), kad::Config::new(PROTOCOL));
                kad.set_mode(Some(mode)); // without it, a client until an external address is confirmed
                Behaviour { identify: identify::Behaviour::new(identify), kad, ping: ping::Behaviour::default() }
            })?
            .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
            .build();
        Ok(Self { swarm, agent, errors: Errors::new() })
    }

    /// Listen; return the address with our id. Provider records carry external addresses only, so it is declared one.
    pub async fn listen(&mut self) -> Result<Multiaddr> {
        self.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = self.swarm.select_next_some().await {
                self.swarm.add_external_address(address.clone());
                return Ok(address.with(Protocol::P2p(*self.swarm.local_peer_id())));
            }
        }
    }

    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Keep the swarm going while `work` is under way.
    pub async fn drive(&mut self, work: impl Future<Output = ()>) {
        tokio::pin!(work);
        loop {
            tokio::select! {
                () = &mut work => return,
                event = self.swarm.select_next_some() => { self.learn(&event); }
            }
        }
    }

    /// Announce and put.
    pub async fn provide(&mut self, target: Target) -> Value {
        self.join(target.bootstrap).await;
        let announced = self.swarm.behaviour_mut().kad.start_providing(target.multihash);
        self.operate("provide", announced.map_err(Into::into), |results| match results.last() {
            Some(QueryResult::StartProviding(outcome)) => Ok(outcome.as_ref().map(|_| ()).map_err(Clone::clone)?),
            other => bail!("{other:?}"),
        })
        .await;
        let put = self.swarm.behaviour_mut().kad.put_record(Record::new(target.key, VALUE.to_vec()), Quorum::One);
        self.operate("put", put.map_err(Into::into), |results| match results.last() {
            Some(QueryResult::PutRecord(outcome)) => Ok(outcome.as_ref().map(|_| ()).map_err(Clone::clone)?),
            other => bail!("{other:?}"),
        })
        .await;
        let put_error = self.errors.get("put");
        json!({"put": put_error.is_none(), "put_error": put_error, "errors": self.errors, "unsupported": {}})
    }

    /// Find peers, providers and the value.
    pub async fn query(&mut self, target: Target) -> Value {
        self.join(target.bootstrap).await;
        let query = self.swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
        let found = self.operate("find_node", Ok(query), |results| match results.last() {
            Some(QueryResult::GetClosestPeers(Ok(found))) => {
                ensure!(!found.peers.is_empty(), "no peers");
                Ok(found.peers.len())
            }
            other => bail!("{other:?}"),
        });
        let found = found.await.unwrap_or_default();
        let query = self.swarm.behaviour_mut().kad.get_providers(target.multihash);
        let providers = self.operate("providers", Ok(query), |results| {
            let ids = results.iter().filter_map(|result| match result {
                QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => Some(providers),
                _ => None,
            });
            let ids: Vec<String> = ids.flatten().map(ToString::to_string).collect();
            ensure!(!ids.is_empty(), "no providers: {results:?}");
            Ok(ids)
        });
        let providers = providers.await.unwrap_or_default();
        let query = self.swarm.behaviour_mut().kad.get_record(target.key);
        let value = self.operate("value", Ok(query), |results| {
            let record = results.iter().find_map(|result| match result {
                QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => Some(&found.record),
                _ => None,
            });
            let record = record.with_context(|| format!("no value: {results:?}"))?;
            Ok(String::from_utf8(record.value.clone())?)
        });
        let value = value.await;
        json!({"find_node": found, "providers": providers, "value": value, "errors": self.errors, "unsupported": {}})
    }

    /// Connect to the bootstrap, and wait until it is in the routing table.
    async fn join(&mut self, bootstrap: Multiaddr) {
        let joining = async {
            self.swarm.dial(bootstrap)?;
            loop {
                let event = self.swarm.select_next_some().await;
                if self.learn(&event) {
                    return anyhow::Ok(());
                }
                if let SwarmEvent::OutgoingConnectionError { error, .. } = event {
                    return Err(error.into());
                }
            }
        };
        let outcome = timeout(OPERATION_DEADLINE, joining).await;
        self.keep("connect", outcome.unwrap_or_else(|_| bail!("the bootstrap did not enter the routing table")));
    }

    /// Wait for all results of a query and read them.
    async fn operate<T>(
        &mut self,
        name: &'static str,
        query: Result<QueryId>,
        read: impl FnOnce(&[QueryResult]) -> Result<T>,
    ) -> Option<T> {
        let outcome = match query {
            Ok(query) => match timeout(OPERATION_DEADLINE, self.results(query)).await {
                Ok(results) => read(&results),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        self.keep(name, outcome)
    }

    async fn results(&mut self, query: QueryId) -> Vec<QueryResult> {
        let mut results = Vec::new();
        loop {
            let event = self.swarm.select_next_some().await;
            self.learn(&event);
            if let SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                result,
                step,
                ..
            })) = event
                && id == query
            {
                results.push(result);
                if step.last {
                    return results;
                }
            }
        }
    }

    fn keep<T>(&mut self, name: &'static str, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(result) => Some(result),
            Err(error) => {
                eprintln!("{name}: {error:?}");
                self.errors.insert(name, format!("{error:#}"));
                None
            }
        }
    }

    /// The library leaves this to us: tell the DHT where a server listens, as it identified itself.
    fn learn(&mut self, event: &SwarmEvent<BehaviourEvent>) -> bool {
        let SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) = event
        else {
            return false;
        };
        if !info.protocols.contains(&PROTOCOL) {
            return false;
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        let updates = info.listen_addrs.iter().map(|address| kad.add_address(peer_id, address.clone()));
        updates.fold(false, |known, update| known || matches!(update, RoutingUpdate::Success))
    }
}
