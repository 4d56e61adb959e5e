//! Plain streams in a swarm: any number may be opened at once, and each inbound one gets its own task.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use anyhow::{Result, anyhow};
use futures::{
    StreamExt as _,
    channel::{mpsc, oneshot},
};
use libp2p::{
    InboundUpgrade, Multiaddr, OutboundUpgrade, PeerId, Stream, StreamProtocol,
    core::{Endpoint, UpgradeInfo, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

use crate::protocols;

type Opened = oneshot::Sender<Result<Stream>>;
type Requests = mpsc::UnboundedSender<(StreamProtocol, Opened)>;

/// Where to ask for a stream to a peer: its latest connection.
type Connections = Arc<Mutex<HashMap<PeerId, Requests>>>;

#[derive(Clone)]
pub struct Control(Connections);

impl Control {
    /// Open a stream on the connection to `peer`.
    pub async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream> {
        let (opened, stream) = oneshot::channel();
        self.0
            .lock()
            .expect("no panic under the lock")
            .get(&peer)
            .ok_or_else(|| anyhow!("no connection to {peer}"))?
            .unbounded_send((protocol, opened))
            .map_err(|_| anyhow!("the connection to {peer} is closed"))?;
        stream.await.map_err(|_| anyhow!("the connection to {peer} closed"))?
    }
}

pub fn new() -> (Behaviour, Control) {
    let connections = Connections::default();
    (Behaviour(connections.clone()), Control(connections))
}

pub struct Behaviour(Connections);

impl Behaviour {
    fn handler(&self, peer: PeerId) -> Handler {
        let (requests, receiver) = mpsc::unbounded();
        self.0.lock().expect("no panic under the lock").insert(peer, requests);
        Handler { requests: receiver }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ConnectionClosed(closed) = event
            && closed.remaining_established == 0
        {
            self.0.lock().expect("no panic under the lock").remove(&closed.peer_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

pub struct Handler {
    requests: mpsc::UnboundedReceiver<(StreamProtocol, Opened)>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Proposal;
    type OutboundProtocol = Proposal;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<Proposal> {
        SubstreamProtocol::new(Proposal(protocols::SERVED.to_vec()), ())
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        match self.requests.poll_next_unpin(context) {
            Poll::Ready(Some((protocol, opened))) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Proposal(vec![protocol]), opened),
            }),
            _ => Poll::Pending, // None: a newer connection to this peer took over
        }
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Proposal, Proposal, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol), ..
            }) => {
                tokio::spawn(protocols::serve(stream, protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: opened,
            }) => {
                let _ = opened.send(Ok(stream)); // whoever asked may have given up
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info: opened }) => {
                let _ = opened.send(Err(anyhow!(error)));
            }
            _ => {}
        }
    }
}

/// Any one of these protocols, with the bare stream as the outcome.
pub struct Proposal(Vec<StreamProtocol>);

impl UpgradeInfo for Proposal {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Proposal {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Proposal {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
