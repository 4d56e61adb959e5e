package main

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const libraryPath = "github.com/libp2p/go-libp2p"

// agent names the library at the version this program was built with.
func agent() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == libraryPath {
				return "go-libp2p/" + dependency.Version
			}
		}
	}
	return "go-libp2p"
}

// newHost makes a go-libp2p host of TCP, Noise and yamux with its limits out of the way.
func newHost(listen libp2p.Option) (host.Host, error) {
	h, err := libp2p.New(
		listen,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.UserAgent(agent()),
	)
	if err != nil {
		return nil, err
	}
	for id, serve := range handlers {
		h.SetStreamHandler(id, bounded(serve))
	}
	return h, nil
}

// connect dials the address and returns what identify told about the peer there.
func connect(ctx context.Context, h host.Host, address string) (*event.EvtPeerIdentificationCompleted, error) {
	target, err := peer.AddrInfoFromString(address)
	if err != nil {
		return nil, err
	}
	identifications, err := h.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerIdentificationFailed),
	})
	if err != nil {
		return nil, err
	}
	defer identifications.Close()
	if err := h.Connect(ctx, *target); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("identify: %w", ctx.Err())
	case outcome := <-identifications.Out():
		switch outcome := outcome.(type) {
		case event.EvtPeerIdentificationCompleted:
			return &outcome, nil
		case event.EvtPeerIdentificationFailed:
			return nil, fmt.Errorf("identify: %w", outcome.Reason)
		default:
			return nil, fmt.Errorf("identify: unexpected event %T", outcome)
		}
	}
}
