package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/multiformats/go-multihash"
)

// The Kademlia roles (../README.md).
const (
	kadID             = "/ipfs/kad/1.0.0"
	kadNamespace      = "example"
	kadValue          = "hello from go"
	operationDeadline = 8 * time.Second
	tablePoll         = 10 * time.Millisecond
)

// anything accepts every record of the test's namespace and prefers the first.
type anything struct{}

func (anything) Validate(string, []byte) error        { return nil }
func (anything) Select(string, [][]byte) (int, error) { return 0, nil }

// kadTarget is where a provider or a querier begins, and what it is about.
type kadTarget struct {
	bootstrap string
	key       string
	content   cid.Cid
}

func parseKadTarget(args []string) (kadTarget, error) {
	key, err := hex.DecodeString(args[1])
	if err != nil {
		return kadTarget{}, err
	}
	digest, err := multihash.FromHexString(args[2])
	if err != nil {
		return kadTarget{}, err
	}
	return kadTarget{bootstrap: args[0], key: string(key), content: cid.NewCidV1(cid.Raw, digest)}, nil
}

// newKad makes a host with a DHT. The library allows the prefix /ipfs with its own two validators only, hence another prefix, and
// the protocol's name set apart from it.
func newKad(listen libp2p.Option, mode dht.ModeOpt) (host.Host, *dht.IpfsDHT, error) {
	h, err := newHost(listen)
	if err != nil {
		return nil, nil, err
	}
	d, err := dht.New(
		h, dht.Mode(mode), dht.ProtocolPrefix("/peerstack-interop"), dht.V1ProtocolOverride(kadID), dht.NamespacedValidator(kadNamespace, anything{}),
	)
	return h, d, err
}

// kadServe runs a bootstrap, or a provider if there is a target, until stdin ends.
func kadServe(target *kadTarget) error {
	h, d, err := newKad(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), dht.ModeServer)
	if err != nil {
		return err
	}
	address := fmt.Sprintf("%s/p2p/%s", h.Addrs()[0], h.ID())
	if target == nil {
		emit(result{"event": "ready", "addr": address, "agent": agent()})
	} else {
		outcome := kadProvide(h, d, *target)
		outcome["event"], outcome["addr"] = "provided", address
		emit(outcome)
	}
	untilStopped()
	return errors.Join(d.Close(), h.Close())
}

// kadProvide announces and puts. The library tells of both only that the lookup succeeded, not how many peers took the record.
func kadProvide(h host.Host, d *dht.IpfsDHT, target kadTarget) result {
	failed := failures{}
	failed.attempt("connect", func(ctx context.Context) error { return join(ctx, h, d, target.bootstrap) })
	failed.attempt("provide", func(ctx context.Context) error { return d.Provide(ctx, target.content, true) })
	failed.attempt("put", func(ctx context.Context) error { return d.PutValue(ctx, target.key, []byte(kadValue)) })
	outcome := result{"put": true, "put_error": nil, "errors": failed, "unsupported": result{}}
	if err, ok := failed["put"]; ok {
		outcome["put"], outcome["put_error"] = false, err
	}
	return outcome
}

// kadQuery finds peers, providers and the value.
func kadQuery(target kadTarget) (result, error) {
	h, d, err := newKad(libp2p.NoListenAddrs, dht.ModeClient)
	if err != nil {
		return nil, err
	}
	failed, found, providers := failures{}, 0, []string{}
	var value any
	failed.attempt("connect", func(ctx context.Context) error { return join(ctx, h, d, target.bootstrap) })
	failed.attempt("find_node", func(ctx context.Context) error {
		random, err := multihash.Sum([]byte(rand.Text()), multihash.SHA2_256, -1)
		if err != nil {
			return err
		}
		peers, err := d.GetClosestPeers(ctx, string(random))
		if found = len(peers); err == nil && found == 0 {
			err = errors.New("no peers")
		}
		return err
	})
	failed.attempt("providers", func(ctx context.Context) error {
		infos, err := d.FindProviders(ctx, target.content)
		for _, info := range infos {
			providers = append(providers, info.ID.String())
		}
		if err == nil && len(infos) == 0 {
			err = errors.New("no providers")
		}
		return err
	})
	failed.attempt("value", func(ctx context.Context) error {
		got, err := d.GetValue(ctx, target.key)
		if err == nil {
			value = string(got)
		}
		return err
	})
	return result{"find_node": found, "providers": providers, "value": value, "errors": failed, "unsupported": result{}}, nil
}

// join connects to the bootstrap and waits until it is in the routing table.
func join(ctx context.Context, h host.Host, d *dht.IpfsDHT, address string) error {
	if _, err := connect(ctx, h, address); err != nil {
		return err
	}
	for d.RoutingTable().Size() == 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the bootstrap did not enter the routing table: %w", ctx.Err())
		case <-time.After(tablePoll):
		}
	}
	return nil
}

// failures are the operations that went wrong, with the reason.
type failures map[string]string

func (f failures) attempt(name string, work func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), operationDeadline)
	defer cancel()
	if err := work(ctx); err != nil {
		log.Printf("%s: %v", name, err)
		f[name] = err.Error()
	}
}
